"""Statistics, and records sorted into studies and rows."""
