"""Errors of running a model on an example and comparing what it computes."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError


class UnusableExample(RegistryError):
    """What was given as an example cannot be passed to a model."""

    def __init__(
        self, why: str, remedy: str = "give a tensor, a tuple of tensors, or a dict of keyword tensors"
    ) -> None:
        super().__init__(f"the example cannot be used: {why}; {remedy}")


class ExampleFailed(RegistryError):
    """The model raised when it was called with the example."""

    def __init__(self, model: str, error: str) -> None:
        super().__init__(f"{model} cannot be called with the example: {error}; give inputs that its forward() takes")


class OutputsVary(RegistryError):
    """The model does not compute the same twice."""

    def __init__(self, model: str, where: str) -> None:
        super().__init__(
            f"{model} computes other outputs each time even in eval mode ({where}), so nothing could be compared "
            "later; take the dropout or sampling out of its eval mode, or push without an example"
        )


class NothingToCompare(RegistryError):
    """No tensor and no number is in what the model returns."""

    def __init__(self, model: str, kind: str) -> None:
        super().__init__(f"{model} returns a {kind} without a tensor in it, so an example shows nothing; leave it out")


class ExampleNeedsClass(RegistryError):
    """An example came with bare tensors."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} cannot be run on an example, since it names no class; give one with --model pkg.mod:Class, "
            "or push a live model"
        )


class NoExample(RegistryError):
    """A version has no example to replay."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"{ref} was pushed without an example, so its outputs cannot be verified; push it again with "
            "registry.push(..., example=inputs)"
        )


class OutputsDiffer(RegistryError):
    """A model does not compute what it did when it was pushed."""

    def __init__(self, ref: str, deviation: str, circumstances: Sequence[str]) -> None:
        super().__init__(
            f"{ref} does not compute what it did when it was pushed: {deviation}; {'; '.join(circumstances)}; "
            "go back to the code of the push, or load without verify='outputs' and push again with an example"
        )
