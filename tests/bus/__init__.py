"""Tests of the bus between daemons."""
