"""First-party agents, a folder each."""
