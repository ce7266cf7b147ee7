"""The lossless document: what is known of it, how it is stored, made smaller, looked at and taken back.  No I/O."""
