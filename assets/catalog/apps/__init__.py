"""First-party apps, a folder each."""
