"""Errors of importing what a version names as its class."""

from __future__ import annotations

from registry.errors.models import ModelError


class UntrustedClass(ModelError):
    """A version names a class that nothing speaks for, so it was not imported."""

    def __init__(self, ref: str, target: str, why: str) -> None:
        package = target.partition(":")[0].partition(".")[0]
        super().__init__(
            f"{ref} names the class {target}, which was not imported, since importing runs code and {why}; if you know "
            f"this class, name it yourself (model='{target}', --model {target}), or trust its package with "
            f"REGISTRY_TRUST={package}"
        )
        self.target = target


class StandardLibraryTarget(UntrustedClass):
    """A class was to be taken from Python's standard library, which has no models and much that does harm."""

    def __init__(self, target: str, module: str) -> None:
        ModelError.__init__(
            self,
            f"{target} leads to '{module}' of Python's standard library, which holds no model and of which nothing is "
            "ever called, whatever model= or REGISTRY_TRUST say; name the model's own class (in a module with a "
            "name of its own), or load into an instance with model=Net(...)",
        )
        self.target = target


class InvalidTrust(ModelError):
    """What lists the packages to trust is not such a list."""

    def __init__(self, where: str, given: str) -> None:
        super().__init__(
            f"{where} has {given}, which is not a valid package name; list top-level packages, such as mymodels or timm"
        )


class UnreadableConfiguration(ModelError):
    """The user's configuration file cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the configuration file {path} cannot be read ({reason}); correct it, or move it away")
