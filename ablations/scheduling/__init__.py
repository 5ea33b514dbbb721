"""Running a study: scheduler, launchers, retries, progress."""
