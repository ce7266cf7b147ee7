"""Limits for each address, user and connection: the counting and the decisions, without input or output."""
