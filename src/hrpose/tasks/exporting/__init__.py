"""What `hrpose export` is made of: the weights, crops to check them on, and the check."""
