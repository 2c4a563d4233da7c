"""First-party datasets, a folder each."""
