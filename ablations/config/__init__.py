"""A run's config: schema, resolution from recipe and flags, sweep files, labels."""
