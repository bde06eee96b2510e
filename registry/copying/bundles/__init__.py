"""Bundles: versions with everything that belongs to them, as one file. docs/bundles.md is their specification."""
