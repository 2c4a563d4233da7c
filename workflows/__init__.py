"""Steps, run durably."""
