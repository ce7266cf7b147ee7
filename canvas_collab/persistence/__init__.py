"""Stores documents in PostgreSQL: the journal, the log, snapshots, compaction and pruning."""
