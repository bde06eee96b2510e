"""How a model was constructed, remembered on the model itself, so that a push from a job can store it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from registry.errors.intake import NotAModule
from registry.errors.models import InitRefused, described
from registry.tensors.arguments import Arguments

if TYPE_CHECKING:
    from torch import nn

    M = TypeVar("M", bound=nn.Module)

_RECORDS = "_registry_records"
"""On a constructor that records, so that none is wrapped twice."""


@overload
def remember(model: type[M], /) -> type[M]: ...
@overload
def remember(model: M, /, *args: Any, **init: Any) -> M: ...
def remember(model: Any, /, *args: Any, **init: Any) -> Any:
    """Remember the constructor arguments of a model, so that ``registry.push(model)`` stores them with its class.

    As a decorator of a class it records what each instance is constructed with, of its subclasses too, before the
    constructor can change it::

        @registry.remember
        class PointNet(nn.Module): ...

    On an instance it takes them as the constructor did: ``registry.remember(model, args, num_classes=40)``. What a
    recorded constructor was given and cannot be stored leaves the arguments unknown, which a push says. The names and
    shapes of the tensors are remembered, too: a push says what was changed since, which the class would not make again.

    Raises:
        UnstorableInit: an argument given here could not be given back as it is.
        InitRefused: the class does not take these arguments.
        NotAModule: it is neither a module nor a class of modules.
    """
    from torch import nn

    if isinstance(model, type) and issubclass(model, nn.Module) and not args and not init:
        return _recording_class(model)
    if not isinstance(model, nn.Module):
        raise NotAModule(described(model))
    from registry.modules.building.constructor import Call, by_name, note, signature_of
    from registry.modules.layout import bare, model_class

    cls = model_class(model)
    Call(args, init).check(cls, cls.__qualname__)
    signature = signature_of(cls)
    named = by_name(signature.bind(*args, **init)) if signature is not None else init
    note(bare(model), Arguments.of(named, cls.__qualname__))
    _record_tensors(bare(model))
    return model


def remembered(model: nn.Module) -> Arguments | None:
    """Return the constructor arguments that were remembered on a model, or None."""
    from registry.modules.building.constructor import noted

    found = noted(model)
    return found if isinstance(found, Arguments) else None


def remember_if_possible(model: nn.Module, init: dict[str, Any]) -> None:
    """Remember arguments that were collected and may not be all that the constructor takes."""
    from registry.modules.building.constructor import note

    try:
        remember(model, **init)
    except InitRefused as error:
        note(model, str(error))


def _recording_class(cls: type[M]) -> type[M]:
    """Let a class and those that derive from it record what they are constructed with."""
    cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]
    before = cls.__dict__.get("__init_subclass__")

    def __init_subclass__(derived: type[M], /, **kwargs: Any) -> None:
        if before is not None:
            before.__get__(None, derived)(**kwargs)
        else:
            super(cls, derived).__init_subclass__(**kwargs)
        if "__init__" in vars(derived):
            derived.__init__ = _recording(derived.__init__)  # type: ignore[method-assign]

    cls.__init_subclass__ = classmethod(__init_subclass__)  # type: ignore[assignment]
    return cls


def _recording(construct: Callable[..., None]) -> Callable[..., None]:
    if getattr(construct, _RECORDS, None) == id(construct):
        return construct
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def recorded(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        # Only of the constructor that was called from outside: one that a subclass calls has arguments of its own.
        is_outermost = type(self).__init__ is recorded
        if is_outermost:
            _record(self, signature, args, kwargs)
        construct(self, *args, **kwargs)
        if is_outermost:
            _record_tensors(self)

    setattr(recorded, _RECORDS, id(recorded))  # a wrapper around it copies its attributes and is another one
    return recorded


def _record(model: nn.Module, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    from registry.modules.building.constructor import by_name, note_if_storable

    try:
        bound = signature.bind(model, *args, **kwargs)
    except TypeError:  # the constructor itself says it better
        return
    note_if_storable(model, by_name(_without_self(bound)), type(model).__qualname__)


def _record_tensors(model: nn.Module) -> None:
    from registry.modules.building.constructor import note_tensors
    from registry.modules.layout import layout

    note_tensors(model, layout(model))


def _without_self(bound: inspect.BoundArguments) -> inspect.BoundArguments:
    first, *rest = bound.signature.parameters.values()
    if first.kind is first.VAR_POSITIONAL:  # ``def __init__(*args)``
        return inspect.Signature([first, *rest]).bind(*bound.args[1:], **bound.kwargs)
    return inspect.Signature(rest).bind(*bound.args[1:], **bound.kwargs)
