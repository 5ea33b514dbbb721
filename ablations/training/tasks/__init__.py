"""LightningModules, one file a task."""
