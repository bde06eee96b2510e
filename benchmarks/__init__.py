"""Measurements against what people do by hand and against other registries: ``python -m benchmarks``."""
