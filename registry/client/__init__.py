"""A home that another machine serves: its catalog and its bytes, asked and changed over HTTP."""
