"""From an entry to a ready module."""
