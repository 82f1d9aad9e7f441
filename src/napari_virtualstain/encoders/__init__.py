"""Networks that see rather than paint: by name, with what they promise, and their packages."""
