"""A home that somebody serves: its catalog and its bytes, asked and changed over HTTP."""
