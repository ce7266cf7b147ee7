"""Measures whether a daemon stays the same while clients come, edit and leave for a long time."""
