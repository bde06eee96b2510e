"""Properties of the canonical form, over random modules really wrapped by torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from registry.canonical.assume import RESERVED
from registry.canonical.expectation import Expectation
from registry.canonical.form import Clues, Form, canonicalize, reconcile
from registry.canonical.unwrap import Cut
from registry.canonical.wrappers import COMPONENTS
from registry.errors import RegistryError
from registry.tensors.spec import TensorSpec, weights_digest

HONEST = ["module", "_orig_mod", "model", "features", "se_module", "submodule", "my_module", "0", "conv", "module_list"]
RESERVED_COMPONENT = rf"(?<![^.])(?:{'|'.join(sorted(RESERVED))})(?![^.])"
PROFILE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Strategy(nn.Module):
    """Wraps as Lightning's strategies do: the child is ``_forward_module``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._forward_module = model


WRAP: dict[str, Callable[[nn.Module], Any]] = {
    "ddp": nn.parallel.DistributedDataParallel,
    "dp": nn.DataParallel,
    # Compiling what is compiled gives a plain function, which has no state dict.
    "compile": lambda model: model if hasattr(model, "get_compiler_config") else torch.compile(model),
    "ema": torch.optim.swa_utils.AveragedModel,
    "checkpoint": checkpoint_wrapper,
    "fabric": Strategy,
}


class Tree(nn.Module):
    """A module with the given children, and perhaps a tensor of its own."""

    def __init__(self, children: dict[str, nn.Module], own: bool) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        if own:
            self.scale = nn.Parameter(torch.ones(2))


@dataclass
class Wrapped:
    bare: nn.Module
    module: nn.Module
    stack: tuple[str, ...]
    inside: tuple[str, ...]


leaves = st.sampled_from([lambda: nn.Linear(1, 2), lambda: nn.BatchNorm1d(2)]).map(lambda make: make())
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        Tree, st.dictionaries(st.sampled_from(HONEST), inner, min_size=1, max_size=3), st.booleans()
    ),
    max_leaves=6,
)


@st.composite
def wrapped(draw: st.DrawFn) -> Wrapped:
    bare = draw(trees.filter(lambda tree: isinstance(tree, Tree)))
    for number, tensor in enumerate(bare.state_dict().values()):
        tensor.fill_(number)
    module = _copy(bare)
    paths = [path for path, child in module.named_modules() if path and next(child.parameters(), None) is not None]
    inside = draw(st.lists(st.sampled_from(paths), max_size=1)) if paths else []
    for path in inside:
        parent, _, name = path.rpartition(".")
        owner = module.get_submodule(parent)
        owner.add_module(name, WRAP[draw(st.sampled_from(["ddp", "dp", "compile"]))](owner.get_submodule(name)))
    stack = draw(st.lists(st.sampled_from(sorted(WRAP)), max_size=4))
    for name in reversed(stack):
        module = WRAP[name](module)
    return Wrapped(bare, module, tuple(stack), tuple(inside))


def _copy(module: nn.Module) -> nn.Module:
    if not isinstance(module, Tree):
        return module
    copied = Tree({name: _copy(child) for name, child in module.named_children()}, False)
    for name, parameter in module.named_parameters(recurse=False):
        copied.register_parameter(name, parameter)
    return copied


def spec(tensor: torch.Tensor) -> TensorSpec:
    return TensorSpec(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def signature(module: nn.Module) -> dict[str, TensorSpec]:
    return {name: spec(tensor) for name, tensor in module.state_dict().items()}


def read(case: Wrapped, **facts: object) -> Form:
    return canonicalize("a file", signature(case.module), (), Clues(**facts))  # type: ignore[arg-type]


def values_by_name(case: Wrapped, form: Form) -> dict[str, list[float]]:
    saved = case.module.state_dict()
    return {canonical: saved[name].flatten().tolist() for name, canonical in form.tensors.items()}


def truth(case: Wrapped) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in case.bare.state_dict().items()}


@PROFILE
@given(wrapped())
def test_with_the_class_the_names_are_those_of_the_bare_model(case: Wrapped) -> None:
    form = read(case, expectation=Expectation(signature(case.bare)))
    assert values_by_name(case, form) == truth(case)


def decided(case: Wrapped) -> Form:
    """Return what is decided without the class, for a case in which it is not refused."""
    try:
        return read(case)
    except RegistryError:
        assume(False)
        raise


def are_uncertain(form: Form) -> bool:
    """Whether the form says that an honest module may bear a name that was cut, or a wrapper one that was kept."""
    return bool(form.unwrapping.doubts) or any(could_be_honest(cut) for cut in form.unwrapping.cuts)


def could_be_honest(cut: Cut) -> bool:
    return cut.components[-1] not in RESERVED and cut.wrapper != "ema"  # the average's own tensor proves it


@PROFILE
@given(wrapped())
def test_without_the_class_the_names_are_right_or_marked_or_refused(case: Wrapped) -> None:
    assume(not any(RESERVED & {*name.split(".")} for name in case.bare.state_dict()))
    form = decided(case)
    assert are_uncertain(form) or values_by_name(case, form) == truth(case)


@PROFILE
@given(wrapped())
def test_what_was_decided_without_the_class_the_class_confirms_or_corrects(case: Wrapped) -> None:
    form = decided(case)
    stored = values_by_name(case, form)
    correction = reconcile(list(stored), form.unwrapping, Expectation(signature(case.bare)))
    assert correction is not None
    kept = {name: value for name, value in stored.items() if name not in correction.owned}
    assert {correction.renamed.get(name, name): value for name, value in kept.items()} == truth(case)
    assert not correction.renamed or stored != truth(case)


@PROFILE
@given(wrapped())
def test_without_the_class_what_could_be_honest_is_cut_once_around_the_whole_model(case: Wrapped) -> None:
    cuts = decided(case).unwrapping.cuts
    assert {cut.components[-1] for cut in cuts} <= COMPONENTS
    assumed = [cut.components for cut in cuts if could_be_honest(cut)]
    assert len({component for *_, component in assumed}) == len(assumed)
    assert {path[:-1] for path in assumed} <= {(), *(cut.components for cut in cuts)}


@PROFILE
@given(wrapped())
def test_without_the_class_a_reserved_component_is_cut_exactly_where_a_wrapper_put_it(case: Wrapped) -> None:
    assume(not any(RESERVED & {*name.split(".")} for name in case.bare.state_dict()))
    form = decided(case)
    cut = [cut.path for cut in form.unwrapping.cuts if cut.components[-1] in RESERVED]
    parents = {name[: match.end()] for name in form.tensors for match in re.finditer(RESERVED_COMPONENT, name)}
    assert sorted(cut) == sorted(parents)


@PROFILE
@given(wrapped(), st.booleans())
def test_unwrapping_and_rewrapping_give_back_the_names_in_the_file(case: Wrapped, with_class: bool) -> None:
    try:
        form = read(case, expectation=Expectation(signature(case.bare)) if with_class else None)
    except RegistryError:
        assume(False)
    names = {form.unwrapping.wrapped(canonical) for canonical in form.tensors.values()} | set(form.owned)
    assert names == set(case.module.state_dict())


@PROFILE
@given(wrapped())
def test_canonicalizing_twice_is_the_identity(case: Wrapped) -> None:
    expectation = Expectation(signature(case.bare))
    once = {
        canonical: signature(case.module)[name]
        for name, canonical in read(case, expectation=expectation).tensors.items()
    }
    twice = canonicalize("a file", once, (), Clues(expectation=expectation))
    assert all(name == canonical for name, canonical in twice.tensors.items())
    assert not twice.unwrapping.cuts


@PROFILE
@given(wrapped())
def test_the_digest_does_not_depend_on_the_stack(case: Wrapped) -> None:
    def digest(names: dict[str, list[float]]) -> str:
        return weights_digest((name, TensorSpec("float32", (len(v),)), str(v)) for name, v in names.items())

    form = read(case, expectation=Expectation(signature(case.bare)))
    assert digest(values_by_name(case, form)) == digest(truth(case))


@PROFILE
@given(wrapped())
def test_a_class_with_another_name_is_refused(case: Wrapped) -> None:
    names = signature(case.bare)
    other = {(f"{name}_other" if number == 0 else name): s for number, (name, s) in enumerate(names.items())}
    with pytest.raises(RegistryError):
        read(case, expectation=Expectation(other))


def test_every_pair_of_wrappers_is_undone_by_the_class() -> None:
    for outer, inner in itertools.product(WRAP, WRAP):
        bare = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2))
        case = Wrapped(bare, WRAP[outer](WRAP[inner](bare)), (outer, inner), ())
        form = read(case, expectation=Expectation(signature(bare)))
        assert values_by_name(case, form) == truth(case), (outer, inner)
