"""A home served to a group over HTTP: our own API, the calls of Hugging Face clients, pages to look at.

It reads rows and bytes. It imports no torch, builds no class and unpickles nothing.
"""
