"""Errors of bringing in a folder."""

from __future__ import annotations

from registry.errors.root import RegistryError


class NotAFolder(RegistryError):
    """A file was given where a folder is imported."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source} is not a folder; registry push (registry.push) takes a single file")


class MixedModels(RegistryError):
    """A folder is to become one model, and what lies in it differs in names or shapes."""

    def __init__(self, name: str, one: str, other: str, difference: str, models: int) -> None:
        super().__init__(
            f"{models} different models lie in the folder, and --name {name} is one: {one} and {other} differ: "
            f"{difference}; leave --name (name=) out to give each its own name, or import a folder with one of them"
        )


class OtherModel(RegistryError):
    """A folder is to become a model whose versions have other names or shapes."""

    def __init__(self, name: str, ref: str, path: str, difference: str) -> None:
        super().__init__(
            f"{ref} and {path} are not the same model: {difference}; give another --name (name=) than {name}, or none"
        )
