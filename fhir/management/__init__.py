"""Management commands of the clinical store."""
