"""Folders and files of a home, whoever keeps what in them."""
