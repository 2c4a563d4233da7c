"""What can be installed, and where it runs."""
