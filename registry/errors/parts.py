"""Errors of versions that hold several models."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError, few


class BadPartName(RegistryError, ValueError):
    """A name cannot be that of a part."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name:.80}' is not a valid name of a part, which is one component of every name in it: give a text "
            "without a dot, such as 'img', and not 'training', which every module has"
        )


class UnknownPart(RegistryError):
    """A version has no part of that name, or does not consist of several models."""

    def __init__(self, ref: str, part: str, parts: Sequence[str], is_file: bool = False) -> None:
        has = "it holds one model; leave the part out"
        if is_file:
            has = "it is a file; choose what is compared with --weights"
        elif parts:
            has = f"its parts are {few([repr(each) for each in parts])}"
        super().__init__(f"{ref} has no part '{part:.80}': {has}")


class PartsDiffer(RegistryError):
    """What was given by part is not given for exactly the parts that there are."""

    def __init__(
        self, what: str, of: str, missing: Sequence[str], unknown: Sequence[str], parts: Sequence[str]
    ) -> None:
        clauses = []
        if missing:
            clauses.append(f"it lacks {few([repr(each) for each in missing])}")
        if unknown:
            clauses.append(f"there is no part {few([repr(each) for each in unknown])}")
        super().__init__(
            f"{what} does not give one for each part of {of}: {' and '.join(clauses)}; its parts are "
            f"{few([repr(each) for each in parts])}; one part alone is named with part="
        )


class NotByPart(RegistryError):
    """Something is given by part that has to be, or is not, or is neither."""

    def __init__(self, what: str, found: str, example: str) -> None:
        super().__init__(f"{what} is {found}; where several models are pushed or loaded as one, give {example}")


class SamePartName(RegistryError):
    """Two sets of weights would be parts of one name."""

    def __init__(self, part: str, paths: Sequence[str]) -> None:
        named = " ".join(f"--weights NAME{number}={path}" for number, path in enumerate(paths, 1))
        super().__init__(
            f"{few([repr(path) for path in paths])} would both be the part '{part:.80}'; give each a name of its own: "
            f"{named}"
        )


class NoParts(RegistryError):
    """Something is given by part for what has none."""

    def __init__(self, what: str, of: str) -> None:
        super().__init__(f"{what} is given by part, and {of} holds one model; give it for that model alone")


class ExampleOfParts(RegistryError):
    """An example was given for several models, none of which is the one to run."""

    def __init__(self, name: str | None, parts: Sequence[str]) -> None:
        super().__init__(
            f"an example is run by one model, and '{name}' would hold {few([repr(each) for each in parts])}; leave the "
            "example out, or push the model that it is of by itself, too"
        )
