"""Other forms of resources than the JSON that is stored."""
