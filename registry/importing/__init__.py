"""Bringing in a folder of checkpoints: found, recognized, grouped into models, and each one pushed."""
