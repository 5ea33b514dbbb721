"""Text: escaping for each medium, phrases of messages, strict numbers."""
