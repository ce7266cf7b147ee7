"""Documents: merging, snapshots, compaction, inspecting, restoring and rebuilding.  No I/O."""
