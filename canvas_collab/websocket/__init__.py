"""Sockets, and the two protocols that are spoken on them."""
