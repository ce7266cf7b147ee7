"""Sends a daemon millions of mutated inputs, over everything that it receives."""
