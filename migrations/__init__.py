"""Migrations of the catalog, run on first use and by `registry db upgrade`."""
