"""What is on disk in a results folder: records, leases, run state."""
