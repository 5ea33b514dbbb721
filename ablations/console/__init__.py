"""The terminal: printing, tables, when to show progress."""
