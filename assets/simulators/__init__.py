"""The vendors' servers for the sandbox: one process on loopback that enforces the vendors' rules.

It shares nothing with the platform but the wire: no Django, no models, no database.
"""
