"""Migrations of the catalogue, run on first use and by `registry db upgrade`."""
