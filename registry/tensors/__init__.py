"""The ground: what a tensor is, as bytes with a dtype and a shape; imports no torch."""
