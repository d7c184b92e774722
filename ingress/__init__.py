"""The web process: takes Meta's webhooks in milliseconds, keeps no state."""
