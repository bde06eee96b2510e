"""What is known of the versions, in SQLite."""
