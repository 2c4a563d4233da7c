"""The Prior Auth Agent: what a payer must be asked, with what, and what it answered."""
