"""Access to PostgreSQL: connections and their pool, errors, byte strings as parameters, migrations, the catalogue."""
