"""How a model was constructed, remembered on the model itself, so that a push from a job can store it."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from registry.errors.intake import UnstorableInit

if TYPE_CHECKING:
    from torch import nn

    M = TypeVar("M", bound=nn.Module)

_ATTRIBUTE = "_registry_init"
"""On the instance, since copies of a model (``AveragedModel`` makes one) have to know it too."""


@overload
def remember(model: type[M]) -> type[M]: ...
@overload
def remember(model: M, **init: Any) -> M: ...
def remember(model: Any, **init: Any) -> Any:
    """Remember the init arguments of a model, so that ``registry.push(model)`` stores them with its class.

    As a decorator of a class it records what each instance is constructed with::

        @registry.remember
        class PointNet(nn.Module): ...

    On an instance it takes them as given: ``registry.remember(model, num_classes=40)``.

    Raises:
        UnstorableInit: an argument has no JSON form, so it could not be given back.
    """
    if isinstance(model, type):
        model.__init__ = _recording(model.__init__)  # type: ignore[misc]
        return model
    setattr(model, _ATTRIBUTE, _checked(type(model).__name__, init))
    return model


def remembered(model: nn.Module) -> dict[str, Any] | None:
    """Return the init arguments that were remembered on a model, or None."""
    init: dict[str, Any] | None = getattr(model, _ATTRIBUTE, None)
    return init


def _recording(construct: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def recorded(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        if _ATTRIBUTE in self.__dict__:
            return  # a decorated subclass has its own arguments, recorded when its own constructor returns
        bound = signature.bind(self, *args, **kwargs)
        init: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                raise UnstorableInit(type(self).__name__, f"*{name}", "has no name; give it as a keyword")
            init.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        setattr(self, _ATTRIBUTE, _checked(type(self).__name__, init))

    return recorded


def _checked(model: str, init: dict[str, Any]) -> dict[str, Any]:
    for name, value in init.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise UnstorableInit(model, name, f"is a {type(value).__name__}, which has no JSON form") from error
    return dict(init)
