"""What the tests need of the world: a PostgreSQL, databases in it, daemons on them."""
