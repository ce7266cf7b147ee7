"""Tests of what daemons tell each other over the bus."""
