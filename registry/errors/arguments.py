"""Errors of calling a verb: an argument that it does not have, or that is not what it takes."""

from __future__ import annotations

from registry.errors.root import RegistryError


class InvalidArgument(RegistryError, ValueError):
    """An argument is not of the kind that the verb takes."""

    def __init__(self, verb: str, argument: str, given: str, wanted: str) -> None:
        super().__init__(f"{verb}({argument}=...) was given {given}; {wanted}")
        self.argument = argument


class WrongCall(RegistryError, TypeError):
    """A verb was called with an argument that it does not have, or without one that it needs."""

    def __init__(self, verb: str, fault: str, remedy: str) -> None:
        super().__init__(f"{verb}() {fault}; {remedy}")
