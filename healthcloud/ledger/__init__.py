"""The ledger of due work: PostgreSQL remembers what is to be done, the broker only rings."""
