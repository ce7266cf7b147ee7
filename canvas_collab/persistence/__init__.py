"""Getting updates to disk and back: the journal, snapshots, history, and what other processes write."""
