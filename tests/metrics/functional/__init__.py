"""A package, because its files are called like those of the folder above."""
