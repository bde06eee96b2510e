"""A versioned registry of PyTorch checkpoints in one canonical, unwrapped form."""
