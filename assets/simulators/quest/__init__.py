"""Quest Diagnostics, as Quanum Hub behaves."""
