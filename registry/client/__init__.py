"""A home that another machine serves."""
