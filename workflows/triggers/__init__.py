"""What starts runs besides a call: schedules, events, webhooks, changes of clinical data."""
