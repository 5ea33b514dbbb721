"""The errors that a user sees, one hierarchy."""
