"""What this process may use of its machine, and the environment variables it reads."""
