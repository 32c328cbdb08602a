"""PostgreSQL: the embedded server, the pool, migrations and batched writes."""
