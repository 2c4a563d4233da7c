"""The platform core: tenancy, organizations, the REST kit, events, the ledger and the runtime."""

__version__ = "0.1.0"
