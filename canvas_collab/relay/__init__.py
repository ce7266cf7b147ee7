"""Relays what happens in rooms to other daemons over the bus, and what arrives from them to the rooms."""
