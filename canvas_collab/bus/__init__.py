"""The bus between daemons: what happens in a room is published on it before it is committed, and loss does no harm."""
