"""Where a job runs: a process of its own beside the viewer, or a scheduler elsewhere."""
