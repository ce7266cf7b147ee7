"""Several daemons on one database: each follows what the others and operators commit to the log."""
