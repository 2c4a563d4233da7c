"""The Diagnostic Agent: screens a patient's record for urinary tract infection, by cited rules."""
