"""The demonstration: a model trained under DDP, saved two ways, and what becomes of it."""
