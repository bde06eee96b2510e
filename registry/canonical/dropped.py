"""Tied names that a writer left out, as the metadata of a file tells of them."""

from __future__ import annotations

from registry.canonical.expectation import Expectation


def is_tie(dropped: str, kept: str, expectation: Expectation | None) -> bool:
    """Whether an entry of a file's metadata that maps a text to the name of a tensor is a tie and no fact.

    ``safetensors.torch.save_model`` writes the name that it dropped with the one that it kept among whatever else is
    said of the file: ``{"format": "pt"}`` beside a tensor ``pt`` is no tie. The class tells; without one, two paths of
    several components are no facts.

    Args:
        dropped: the canonical name that may have been left out.
        kept: the canonical name of a tensor.
        expectation: what the class wants, where it is known.
    """
    if expectation is not None:
        return dropped in expectation.tensors
    return "." in dropped and "." in kept
