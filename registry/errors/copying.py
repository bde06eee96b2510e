"""Errors of copying versions to other homes, into bundles and out of them."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.catalog import quoted
from registry.errors.root import RegistryError


class NotAPlace(RegistryError):
    """What versions shall be copied to is neither a folder nor a bundle, as it is spelled."""

    def __init__(self, given: str) -> None:
        shown = quoted(given)[1:-1]
        super().__init__(
            f"'{shown}' is not a place to copy to, by its spelling; write ./{shown} for a folder, or a name that ends "
            "in .bundle for a file"
        )


class NotServed(RegistryError):
    """A URL stands where references and bundles do."""

    def __init__(self, given: str) -> None:
        super().__init__(
            f"{quoted(given)} is a URL and not a reference; name what to copy, and the server as the home that it is "
            "copied from (--home), or as the place that it is copied to"
        )


class NoSuchUser(RegistryError):
    """A path begins with the home directory of a user whom nobody knows."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{quoted(path)} begins with a home directory that does not exist here; write the path in full, from /"
        )


class NotABundleName(RegistryError):
    """A path stands where references and bundles do."""

    def __init__(self, given: str) -> None:
        super().__init__(
            f"{quoted(given)} is neither a reference nor a bundle, whose name ends in .bundle; a checkpoint is pushed "
            "first"
        )


class NothingToCopy(RegistryError):
    """Nothing was named, or there is nothing."""

    def __init__(self, home: str) -> None:
        super().__init__(f"there is nothing to copy in {home}; name references, or a .bundle file to take in")


class SameHome(RegistryError):
    """The versions lie where they shall be copied to."""

    def __init__(self, home: str) -> None:
        super().__init__(f"{home} is the registry that the versions are in; give another place")


class SeveralModels(RegistryError):
    """One name is given for versions of several models."""

    def __init__(self, name: str, models: Sequence[str]) -> None:
        super().__init__(
            f"'{name}' can be the name of one model, and these are several: {', '.join(models[:5])}; copy each by "
            "itself"
        )


class NamesInBundle(RegistryError):
    """Another name is given for versions that go into a bundle."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a bundle keeps the names of its models, so they cannot be called '{name}' in it; give that name where "
            "the bundle is copied into a registry"
        )


class NoSuchBundle(RegistryError):
    """The path leads to no bundle that can be read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot read the bundle {path}: {why}; check the path")


class DamagedBundle(RegistryError):
    """A file is not a bundle, or not as it was written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path} is refused: it is not a sound bundle ({why}); nothing was taken from it; copy it or make it again"
        )


class NewerBundle(RegistryError):
    """A bundle has a form that this program does not know."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"{path} was written by a newer program ({what}); upgrade with `pip install -U checkpoint-registry`"
        )
