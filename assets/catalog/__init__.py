"""The first-party assets, a folder each; nothing imports them by name."""
