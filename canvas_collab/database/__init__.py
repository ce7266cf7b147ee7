"""PostgreSQL: the pool, the migrations, what the catalogue says of the application's tables, the stored documents."""
