"""Synthetic patients of an invented clinic: seeded, deterministic, free of anyone's data."""
