"""Can this field be trusted? Checks, their yardstick, and failures to try them on."""
