"""Applies to this daemon's rooms what other daemons and commands write to the database."""
