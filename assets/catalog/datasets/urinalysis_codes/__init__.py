"""Urinalysis terminology: value sets of tests, answers and symptoms, and our own code systems."""
