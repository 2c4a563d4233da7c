"""Tables of the clinical store, as plain DDL that each tenant replays."""
