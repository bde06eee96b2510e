"""Constructing a module without the values of its parameters, and noticing whatever would need them.

Every operation of a constructor passes the dispatcher, where this mode stands. What would be written into memory of a
registered parameter that was made here, or drawn from the process's generator, is left out: that memory is *void*, on
the CPU as ever and without values. What is computed from void memory is void, too. In the end each piece of it that is
still there has to belong to one tensor of the state dict, alone, since the load gives that one its values. A
constructor that needs a value (``.item()``, ``.numpy()``) is stopped, and the class is built plainly.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, Self

import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode, _pop_mode_temporarily
from torch.utils._pytree import tree_map

from registry.modules.building.entropy import OWN, is_the_default, is_unrepeatable
from registry.modules.building.operators import Operator, Watch, operator
from registry.modules.fitting.memory import may_overlap_itself

_storage_id: Callable[[torch.Tensor], int] | None = getattr(torch._C, "_storage_id", None)
_uses: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)
_forbid_access: Callable[[torch.Tensor], None] | None = getattr(torch._C, "_set_throw_on_mutable_data_ptr", None)
_untyped_storage = torch.Tensor.untyped_storage
_weak_ref: Callable[[Any], int] = torch.UntypedStorage._weak_ref  # type: ignore[assignment]
_expired: Callable[[int], bool] = torch.UntypedStorage._expired  # type: ignore[assignment]
_free_weak_ref: Callable[[int], None] = torch.UntypedStorage._free_weak_ref

_thread = threading.local()


def is_possible() -> bool:
    """Whether the installed torch has what deferring stands on (2.6 and later)."""
    needed = (_storage_id, _uses, _forbid_access, getattr(torch._C, "_swap_tensor_impl", None))
    return all(part is not None for part in needed)


def current() -> Deferral | None:
    """Return the deferral in which this thread is constructing something."""
    return getattr(_thread, "deferral", None)


class Stopped(BaseException):  # no error: it passes a constructor's `except Exception`
    """The constructor needs a value that was left out."""


class Deferral(Watch):
    """Within it, modules are constructed by this thread without the values of their parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.obstacle = ""
        """Why what was constructed cannot be used; empty if nothing stands in the way."""
        self._born: set[int] = set()
        """Ids of the memory that was made here: what was there before is not touched."""
        self._adopted: set[int] = set()
        """Those of registered parameters, into which nothing is written."""
        self._void: dict[int, int] = {}
        """Weak references to void memory, by its id, which is nobody else's as long as they are held."""
        self._addresses: dict[int, tuple[int, int]] = {}
        """Where void memory begins, and its length in bytes, by id."""
        self._checked: set[tuple[Any, ...]] = set()
        """What initializers were given and found to be good."""
        self._uses_of_its_own = _uses_of_its_own()
        self._exposed: dict[int, int] = {}
        """The same for memory that something outside of torch may look at."""

    def __enter__(self) -> Self:
        _thread.deferral = self
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        _thread.deferral = None
        super().__exit__(*raised)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within it, everything is as ever: what an imported module makes stays for the whole process."""
        is_on = _get_current_dispatch_mode() is self  # not while it handles an operation
        with _pop_mode_temporarily() if is_on else nullcontext():
            _thread.deferral = None
            try:
                yield
            finally:
                _thread.deferral = self

    def stop(self, reason: str) -> NoReturn:
        """Note an obstacle and leave the constructor, which may catch that: the obstacle stays."""
        self.obstacle = self.obstacle or reason
        raise Stopped(reason)

    def __del__(self) -> None:
        for known in (self._void, self._exposed):
            for reference in known.values():
                _free_weak_ref(reference)

    def is_void(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor's memory is without values."""
        try:
            return _storage_id(tensor) in self._void  # type: ignore[misc]
        except (RuntimeError, NotImplementedError):  # sparse ones have no memory of their own
            return False

    def adopt(self, parameter: nn.Parameter) -> None:
        """Leave out from now on what is written into a parameter, if that was made here."""
        if type(parameter) is nn.Parameter and parameter.is_cpu and parameter.layout is torch.strided:
            memory = _storage_id(parameter)  # type: ignore[misc]
            if memory in self._born:
                self._adopted.add(memory)

    def leaves_out(self, parameters: Iterable[torch.Tensor | None]) -> bool:
        """Leave out what gives all of these their values; False where that has to be done."""
        given = [parameter for parameter in parameters if parameter is not None]
        for parameter in given:
            memory = _storage_id(parameter)  # type: ignore[misc]
            if memory not in self._adopted or memory in self._exposed:
                return False
        for parameter in given:
            self.void(parameter)
        return True

    def expose(self, tensor: torch.Tensor, how: str) -> None:
        """Note that something outside of torch gets at the memory of a tensor; stop if that has no values."""
        if self.is_void(tensor):
            self.stop(f"the constructor reads its parameters ({how})")
        if tensor.layout is torch.strided and tensor.is_cpu:
            storage = _storage(tensor)
            if storage._cdata not in self._exposed:
                self._exposed[storage._cdata] = _weak_ref(storage)

    def check_once(self, initializer: Callable[..., Any], dtype: torch.dtype, *values: Any, **named: Any) -> None:
        """Raise what an initializer raises about what it is given besides a tensor, which many tensors are given."""
        asked = initializer, dtype, repr(values), repr(named)
        if asked not in self._checked:
            with torch._C._DisableTorchDispatch():  # nothing is drawn, either
                initializer(torch.empty(0, dtype=dtype, device="cpu"), *values, **named)
            self._checked.add(asked)

    def void(self, tensor: torch.Tensor) -> bool:
        """Take it that a tensor has no values; False if that cannot be, since others may see its memory."""
        memory = _storage_id(tensor)  # type: ignore[misc]
        if memory in self._void:
            return True
        if memory not in self._born or memory in self._exposed or not tensor.is_cpu:
            return False
        storage = _storage(tensor)
        self._void[memory] = _weak_ref(storage)
        self._addresses[memory] = (storage.data_ptr(), storage.nbytes())
        _forbid_access(tensor)  # type: ignore[misc]
        return True

    def is_kept_elsewhere(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Whether something holds void memory that belongs to none of these tensors."""
        own = {_storage_id(tensor) for tensor in tensors}  # type: ignore[misc]
        if not self._living() - own:
            return False
        gc.collect()  # it may be held by a cycle of objects that nobody needs any more
        return bool(self._living() - own)

    def spoil(self) -> bool:
        """Make what is left of an attempt that was given up visibly worthless; whether there is anything left.

        A cache, or a list of all layers, may hold it for as long as the process lives.
        """
        if self._living():
            gc.collect()
        for memory in self._living():
            address, nbytes = self._addresses[memory]
            ctypes.memset(address, 0xFF, nbytes)  # NaN in every floating-point format
        return bool(self._living())

    def installable(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> tuple[set[int], str]:
        """Return the ids of the tensors that can be given the contents of others, and what stands in the way.

        What was adopted and still has its values may have them replaced, or be written to. What is void has to be
        replaced, so whatever would be lost by that is an obstacle.
        """
        fit: set[int] = set()
        owners: dict[int, str] = {}
        for name, tensor in tensors:
            memory = _storage_id(tensor)  # type: ignore[misc]
            is_void = memory in self._void
            if not is_void and (memory not in self._adopted or memory in self._exposed):
                continue
            lost = self._lost(tensor, memory)
            if is_void and (other := owners.setdefault(memory, name)) is not name:
                lost = f"its own memory, which is that of '{other}', too"
            if not lost:
                fit.add(id(tensor))
            elif is_void:
                return set(), f"'{name}' would lose {lost}"
        return fit, ""

    def _lost(self, tensor: torch.Tensor, memory: int) -> str:
        if type(tensor) is not nn.Parameter and type(tensor) is not torch.Tensor:
            return f"what a {type(tensor).__name__} is"
        _storage(tensor)  # counts as a use from the first time on
        if _uses(memory) > self._uses_of_its_own or tensor._use_count() > 1:  # type: ignore[misc,attr-defined]
            return "its memory, which something else holds"
        if may_overlap_itself(tensor):
            return "that several of its elements are one place in memory"
        if not tensor.is_leaf or tensor.grad is not None or tensor.is_inference():
            return "its gradient"
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            return "its gradient hook"
        return ""

    def _living(self) -> set[int]:
        return {key for key, reference in self._void.items() if not _expired(reference)}

    def seen(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        found = operator(func)
        if found.is_plain:
            result = func._op(*args, **kwargs) if kwargs else func._op(*args)
            if found.is_factory:  # the most frequent, and always of memory of its own
                self._born.add(_storage_id(result))  # type: ignore[misc]
                return result
        else:
            if found.draws:
                return self._draw(func, found, args, kwargs)
            if any(map(self.is_void, _tensors(args, kwargs))) or (found.writes and self._writes_adopted(args)):
                return self._left_out(func, found, args, kwargs)
            result = func(*args, **kwargs)
        if found.creates:
            self._note(result)
        return result

    def _note(self, result: Any) -> None:
        """Remember that memory was made here. Its id may pass on to other memory, which is made here, too."""
        for tensor in (result,) if isinstance(result, torch.Tensor) else _tensors((result,), {}):
            if tensor.layout is torch.strided and _storage(tensor).resizable():  # which numpy's memory is not
                self._born.add(_storage_id(tensor))  # type: ignore[misc]

    def _writes_adopted(self, args: Sequence[Any]) -> bool:
        target = args[0] if args else None
        if not isinstance(target, torch.Tensor) or target.layout is not torch.strided:
            return False
        memory = _storage_id(target)  # type: ignore[misc]
        return memory in self._adopted and memory not in self._exposed

    def _draw(self, func: Any, found: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        tensors = list(_tensors(args, kwargs))
        is_void = any(map(self.is_void, tensors))
        generator = next((v for v in (*args, *kwargs.values()) if isinstance(v, torch.Generator)), None)
        is_default = generator is None or is_the_default(generator)
        device = kwargs.get("device")
        if generator is not None and not is_default and is_unrepeatable(generator):
            self.stop(OWN)
        if not is_default or not _are_on_cpu(tensors, device):
            if is_void and len(tensors) == 1 and found.returns_what_it_writes:
                func(_scratch(args[0]), *args[1:], **kwargs)  # the generator moves on, and may be kept
                return args[0]
            if is_void:
                self.stop(f"{func} draws from a generator of its own by values of parameters")
            result = func(*args, **kwargs)
            if found.creates:
                self._note(result)
            return result
        return self._left_out(func, found, args, kwargs)

    def _left_out(self, func: Any, found: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what an operation would, without values."""
        if not found.is_declared:
            self.stop(f"{func} is given parameters without values")
        try:
            return self._write(func, found, args, kwargs) if found.writes else self._infer(func, found, args, kwargs)
        except Exception as error:  # on meta as well as for real; which it is, the plain build will show
            self.stop(f"{func} needs the values of parameters ({type(error).__name__})")

    def _write(self, func: Any, found: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        written = [args[i] if i < len(args) else kwargs.get(name) for i, name in found.writes]
        targets = list(_tensors(written, {}))
        others = [t for t in _tensors(args, kwargs) if not any(t is target for target in targets)]
        self._check(func, found, targets, others, args, kwargs)
        for target in targets:
            if not self.void(target):
                self.stop(f"{func} writes from parameters into memory that something else may read")
        if found.returns_nothing:
            return None
        if not found.returns_what_it_writes:
            self.stop(f"{func} also returns values of parameters")
        return written[0] if len(written) == 1 else tuple(written)

    def _check(
        self,
        func: Any,
        found: Operator,
        targets: Sequence[torch.Tensor],
        others: Sequence[torch.Tensor],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Raise what a write that is left out would have raised, such as for a shape that does not fit."""
        if not others and found.draws and len(targets) == 1:
            self.check_once(func, targets[0].dtype, *args[1:], **kwargs)
        elif others and not (len(others) == 1 and others[0].shape == targets[0].shape):
            if found.draws or any(map(self.is_void, others)):
                func(*tree_map(_on_meta, tuple(args)), **tree_map(_on_meta, dict(kwargs)))
            else:
                func(*(_scratch(a) if a is targets[0] else a for a in args), **kwargs)

    def _infer(self, func: Any, found: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if found.has_device:
            device = kwargs.get("device")
            if device is not None and torch.device(device).type != "cpu":
                self.stop(f"{func} puts values of parameters on {device}")
            kwargs = {**kwargs, "device": "meta", **({"pin_memory": False} if "pin_memory" in kwargs else {})}
        returned = func(*tree_map(_on_meta, tuple(args)), **tree_map(_on_meta, dict(kwargs)))
        return tree_map(self._without_values, returned)

    def _without_values(self, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_quantized:
            self.stop("the constructor reads its parameters")
        tensor = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu")
        self._born.add(_storage_id(tensor))  # type: ignore[misc]
        self.void(tensor)
        return tensor


class Aftermath(Watch):
    """Within it, nothing is computed from what an earlier attempt left behind without values."""

    def __init__(self, deferral: Deferral) -> None:
        super().__init__()
        self._deferral = deferral
        self.was_used = False

    def seen(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if any(map(self._deferral.is_void, _tensors(args, kwargs))):
            self.was_used = True
        return func(*args, **kwargs)


_USES: list[int] = []


def _uses_of_its_own() -> int:
    """Return how often memory counts as used that one tensor holds and was asked for, which differs by torch."""
    if not _USES:
        tensor = torch.empty(1, device="cpu")
        _untyped_storage(tensor)
        _USES.append(_uses(_storage_id(tensor)))  # type: ignore[misc]
    return _USES[0]


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    if torch._C._len_torch_function_stack():  # such as `with torch.device(...)`: not by the name, which is watched
        with torch._C.DisableTorchFunction():
            return _untyped_storage(tensor)
    return _untyped_storage(tensor)


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    for value in args:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (element for element in value if isinstance(element, torch.Tensor))
    if kwargs:
        yield from _tensors(tuple(kwargs.values()), {})


def _are_on_cpu(tensors: Sequence[torch.Tensor], device: Any) -> bool:
    return all(t.is_cpu for t in tensors) and (device is None or torch.device(device).type == "cpu")


def _scratch(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def _on_meta(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
