"""The load generator: thousands of clients in one process, on plain sockets."""
