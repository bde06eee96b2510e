"""Every error that a user can cause or meet; each is a class that words itself and names a way out."""

from registry.errors.root import RegistryError

__all__ = ["RegistryError"]
