"""The bytes: content-addressed, immutable safetensors files."""
