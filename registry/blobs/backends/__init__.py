"""Where the bytes can be: stores, and what a store keeps its objects in."""
