"""Settings: environment variables, read and checked once at start, grouped by the part of the daemon that uses them."""
