"""One file per section of Studio."""
