"""Checkpoints that others wrote, read without running anything in them."""
