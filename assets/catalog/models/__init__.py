"""First-party models, a folder each."""
