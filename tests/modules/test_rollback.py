"""A load that is refused leaves a module as it was, whatever code of the module's own took part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import registry
from registry import errors
from registry.modules.fitting.fit import fit


class Refuses(nn.Module):
    """Comes last, and does not take what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def _load_from_state_dict(self, *args: object) -> None:
        raise RuntimeError("no")


class Hooked(nn.Module):
    """Does something to itself before its weights are loaded."""

    cache: torch.Tensor
    fresh: bool
    weight: Any

    def __init__(self, act: Callable[[Hooked], None]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.weight.no_decay = True
        self.weight.grad = torch.ones(3)
        self.register_buffer("count", torch.zeros(2))
        self.register_buffer("cache", torch.ones(2), persistent=False)
        self.inner = nn.Linear(1, 1)
        self.names = ["weight"]
        self.options = {"eps": 1.0}
        self.seen: set[str] = set()
        self.scale = torch.ones(2)
        self.epoch = 1
        self.register_load_state_dict_pre_hook(lambda module, *rest: act(module))


def replace_parameter(m: Hooked) -> None:
    m.weight = nn.Parameter(torch.ones(3))


def replace_module(m: Hooked) -> None:
    m.inner = nn.Linear(1, 1)


def drop_buffer(m: Hooked) -> None:
    del m.cache


def persist_buffer(m: Hooked) -> None:
    m.register_buffer("cache", m.cache, persistent=True)
    m._non_persistent_buffers_set.discard("cache")


def edit_in_place(m: Hooked) -> None:
    m.names.append("bias")
    m.options["eps"] = 2.0
    m.seen.add("x")
    m.scale.fill_(9)
    m.cache.fill_(9)


def set_attributes(m: Hooked) -> None:
    m.epoch, m.fresh = 2, True
    m.train(False)


def freeze(m: Hooked) -> None:
    m.weight.requires_grad_(False)
    del m.weight.no_decay


def drop_gradient(m: Hooked) -> None:
    m.weight.grad = None


def clear_gradient(m: Hooked) -> None:
    m.weight.grad.zero_()


def resize(m: Hooked) -> None:
    m.weight.data = torch.ones(7, dtype=torch.float64)
    m.weight.grad = None


def register_hook(m: Hooked) -> None:
    m.register_forward_hook(lambda *args: None)


def become(m: Hooked) -> None:
    m.__class__ = type("Other", (Hooked,), {})


ACTS = [
    *(replace_parameter, replace_module, drop_buffer, persist_buffer, edit_in_place, set_attributes),
    *(freeze, drop_gradient, clear_gradient, resize, register_hook, become),
]


def facts(module: nn.Module) -> dict[str, object]:
    """Return all that a load could have changed, the identity of objects included."""
    seen: dict[str, object] = {}
    for path, part in module.named_modules():
        seen[path] = (id(part), type(part), {name: id(value) for name, value in part.__dict__.items()})
        for name, value in part.__dict__.items():
            if isinstance(value, (dict, list, set)):
                items = list(value.items()) if isinstance(value, dict) else list(value)
                seen[f"{path}.{name}"] = [(id(i), id(v)) for i, v in items] if isinstance(value, dict) else items
            elif isinstance(value, torch.Tensor):
                seen[f"{path}.{name}"] = value.tolist()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        what = (id(tensor), tensor.data_ptr(), tensor.dtype, tensor.tolist())
        seen[f"{name}!"] = (*what, tensor.requires_grad, dict(vars(tensor)), gradient)
    return seen


@pytest.mark.parametrize("act", ACTS)
def test_what_a_hook_did_before_another_module_refused_is_undone(act: Callable[[Hooked], None]) -> None:
    module = nn.ModuleDict({"a": Hooked(act), "b": Refuses()})
    given = {n: t + 1 for n, t in module.state_dict().items()}
    before = facts(module)

    with pytest.raises(errors.LoadHookFailed):
        fit(module, given)

    assert facts(module) == before


class Swallows(nn.Module):
    """Loads nothing of what it is given and says nothing, after changing its neighbor."""

    def __init__(self, neighbor: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.neighbor = [neighbor]

    def _load_from_state_dict(self, *args: object) -> None:
        self.neighbor[0].weight = nn.Parameter(torch.ones(3))


def test_a_class_that_changes_its_neighbor_and_loads_nothing_is_found_and_undone() -> None:
    neighbor = nn.Linear(3, 1, bias=False)
    module = nn.ModuleDict({"a": neighbor, "b": Swallows(neighbor)})
    given = {n: t + 1 for n, t in module.state_dict().items()}
    before = facts(module)

    with pytest.raises(errors.UntouchedTensor):
        fit(module, given)

    assert facts(module) == before


class Lazies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(3)
        self.norm = nn.LazyBatchNorm1d()
        self.last = Refuses()


def test_lazy_layers_are_lazy_again_after_a_refused_load_and_work() -> None:
    module = Lazies()
    objects = [id(parameter) for parameter in module.parameters()]
    given = {
        **{"linear.weight": torch.ones(3, 4), "linear.bias": torch.ones(3), "last.weight": torch.ones(3)},
        **{f"norm.{name}": torch.ones(3) for name in ("weight", "bias", "running_mean", "running_var")},
        "norm.num_batches_tracked": torch.tensor(1),
    }

    with pytest.raises(errors.LoadHookFailed):
        fit(module, given)

    assert module.linear.has_uninitialized_params() and module.norm.has_uninitialized_params()
    assert [id(parameter) for parameter in module.parameters()] == objects
    assert module.norm(module.linear(torch.ones(2, 9))).shape == (2, 3)


def test_a_plain_module_keeps_its_gradients_and_objects_when_the_bytes_are_damaged() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module(torch.ones(3, 2)).sum().backward()
    before = facts(module)

    with pytest.raises(errors.MissingTensors):
        fit(module, {"0.weight": torch.ones(2, 2)})

    assert facts(module) == before


@pytest.mark.parametrize("sparse", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_sparse_buffer_does_not_keep_the_others_from_being_put_back(
    hub: registry.Registry, sparse: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    hub.push({name: tensor + 5 for name, tensor in module.state_dict().items()}, "net")
    module[0].register_buffer("adjacency", sparse(torch.eye(2)), persistent=False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    with pytest.raises(errors.NoExample):
        hub.load("net", model=module, verify="outputs")

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(module[0].get_buffer("adjacency").to_dense(), torch.eye(2))


def test_an_empty_tensor_is_on_the_cpu_wherever_others_are_made(hub: registry.Registry) -> None:
    hub.push({"a": torch.ones(2), "b": torch.ones(0, 3)}, "net")
    module = nn.ParameterDict({"a": torch.zeros(2), "b": torch.zeros(0, 3)})
    with torch.device("meta"):
        hub.load("net", model=module)
    assert module["a"].tolist() == [1, 1]


class Asked(nn.Linear):
    """Counts how often it was asked for its state, and merges something for it."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.asked = 0
        self.log: list[str] = []
        self.register_state_dict_pre_hook(self._merge)

    @staticmethod
    def _merge(module: Asked, prefix: str, keep_vars: bool) -> None:
        module.asked += 1
        module.log.append(prefix)
        module.weight.data.add_(1)


def test_what_asking_for_a_state_dict_did_is_undone_where_the_names_do_not_fit(hub: registry.Registry) -> None:
    hub.push({"other": torch.ones(2)}, "net")
    module = nn.Sequential(Asked())
    before = facts(module)

    with pytest.raises(errors.FitError):
        hub.load("net", model=module)

    assert facts(module) == before


class _At(TorchDispatchMode):
    """Interrupts whoever copies for the nth time, as Ctrl-C and a timer of the caller's do."""

    def __init__(self, number: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = number, error

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.copy_.default:
            self.left -= 1
            if not self.left:
                raise self.error
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError()])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_interrupt_between_two_copies_is_raised_when_the_module_holds_all_weights(
    number: int, error: BaseException
) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    given = {n: t + 1 for n, t in module.state_dict().items()}

    with pytest.raises(type(error)), _At(number, error):
        fit(module, given)

    assert all(torch.equal(tensor, given[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("number", [1, 3])
def test_an_interrupt_of_a_load_that_casts_leaves_a_module_as_it_was(number: int) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    given = {n: (t + 1).double() for n, t in module.state_dict().items()}
    before = facts(module)

    with pytest.raises(KeyboardInterrupt), _At(number, KeyboardInterrupt()):
        fit(module, given, cast=torch.float32)

    assert facts(module) == before
