"""What marks an encoded value in JSON."""

TAG = "$"
"""The key that marks an object as an encoded value and not as a dict."""
