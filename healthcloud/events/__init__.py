"""What happened: typed events, the live stream and webhooks."""
