"""Traces of edits with OpenTelemetry, which is an extra: it is imported only where traces are on."""
