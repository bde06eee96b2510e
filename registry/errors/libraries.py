"""Errors of models that a library makes of plain data, and of the folders that such libraries write."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors.root import RegistryError


class UnknownBuilder(RegistryError):
    """There is no such builder."""

    def __init__(self, given: str, known: Sequence[str]) -> None:
        super().__init__(f"'{given}' is not a valid builder; give one of {', '.join(known)}, or none")


class LibraryMissing(RegistryError):
    """The library that makes the model is not installed."""

    def __init__(self, library: str, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is made by {library}, which cannot be imported here ({reason}); "
            f"pip install 'checkpoint-registry[{library}]'"
        )


class LibraryRefused(RegistryError):
    """A library does not make a model of the plain data at hand."""

    def __init__(self, library: str, why: str) -> None:
        super().__init__(
            f"{library} cannot make the model of its configuration: {why}; load it with {library} and push "
            "the live model"
        )


class BuilderMismatch(RegistryError):
    """What a library makes of the configuration is not the model whose weights are pushed."""

    def __init__(self, library: str, source: str, why: str) -> None:
        super().__init__(
            f"{library} does not make the model of {source} from its configuration: {why}; load it with {library} and "
            "push the live model, or store the weights without a builder (--builder none)"
        )


class BuilderNotApplicable(RegistryError):
    """A builder was named that has nothing to build from."""

    def __init__(self, library: str, source: str, why: str) -> None:
        super().__init__(f"{library} cannot be the builder of {source}: {why}; leave --builder out, or give none")


class PipelineFolder(RegistryError):
    """The folder is a pipeline of diffusers, which is several models."""

    def __init__(self, path: str, components: Sequence[str]) -> None:
        named = ", ".join(f"{path}/{name}" for name in components)
        super().__init__(
            f"{path} is a pipeline of several models; push each of them: {named or 'none of its folders has weights'}"
        )


class ScalesMissing(RegistryError):
    """The weights are quantized, and what turns them into numbers is not there."""

    def __init__(self, source: str, names: Sequence[str]) -> None:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        super().__init__(
            f"{source} is incomplete: its configuration says that the weights are quantized, and the scales of "
            f"{', '.join(names[:3])}{more} are not there; get the whole checkpoint"
        )


class AttachmentTooLarge(RegistryError):
    """A file of the folder is larger than what is kept beside weights."""

    def __init__(self, path: str, most: int) -> None:
        super().__init__(f"{path} has more than {most} bytes; move it out of the folder if the model works without it")


class UnsafePath(RegistryError):
    """A file beside the weights has a name that leads out of its folder."""

    def __init__(self, ref: str, path: str) -> None:
        super().__init__(f"{ref} names a file {path!r}, which does not lie in its folder; do not trust this version")


class BaseMissing(RegistryError):
    """The weights that an adapter is of are not in this home."""

    def __init__(self, ref: str, digest: str) -> None:
        super().__init__(
            f"{ref} is an adapter of the weights {digest[:12]}, and no live version here has them; push or restore "
            "them, or copy them here"
        )


class BaseNeeded(RegistryError):
    """An adapter was pushed without its base, and the load does not say it."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"{ref} is an adapter that was pushed without its base; load it with base='llama:v1', or push it again "
            "with base= (--base)"
        )


class OtherBase(RegistryError):
    """The base that was given is not the one that the adapter was trained on."""

    def __init__(self, ref: str, base: str, wanted: str) -> None:
        super().__init__(
            f"{ref} is an adapter of the weights {wanted[:12]}, which {base} does not have; leave base out"
        )


class NotAnAdapter(RegistryError):
    """A base was given for something other than an adapter."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not an adapter of PEFT, so it has no base; leave base out")


class BaseNotHere(RegistryError):
    """The base of a live adapter is not in this home."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the base that this adapter is of is not stored here; push it first, or let this push store it, too, as "
            f"'{name}': with_base=True"
        )


class BaseAltered(RegistryError):
    """A live adapter's base no longer has weights that could be looked up."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the base of this adapter is {why}, so which weights it is of cannot be told; give its version with base="
        )
