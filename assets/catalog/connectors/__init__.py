"""First-party connectors, a folder each."""
