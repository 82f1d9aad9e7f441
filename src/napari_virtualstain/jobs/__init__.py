"""What can be asked for: one frozen settings model and one function a verb, no window."""
