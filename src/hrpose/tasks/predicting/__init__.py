"""What `hrpose predict` does with photos and videos, and the files that it leaves."""
