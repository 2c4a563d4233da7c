"""Template tags of Studio."""
