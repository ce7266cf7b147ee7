"""Attacks on a daemon, and their effect on clients in other documents."""
