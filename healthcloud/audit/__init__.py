"""Who did what to whose data: an append-only, hash-chained trail."""
