"""What a catalog on PostgreSQL promises that one in a file cannot, or need not."""
