"""Authentication and authorization: Better Auth sessions, roles in rooms, and limits on their lookups."""
