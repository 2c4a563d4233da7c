"""Quest Diagnostics: lab results and orders over Quanum Hub."""
