"""Mutated inputs for everything that the daemon receives, and what sends them."""
