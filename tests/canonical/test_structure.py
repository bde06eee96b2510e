"""Without a class: what structure and declaration decide, by the names alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from registry.canonical.expectation import Expectation
from registry.canonical.form import Clues, Correction, canonicalize, reconcile
from registry.canonical.wrappers import parse_declaration
from registry.errors import (
    ClassMismatch,
    CollidingNames,
    MixedNames,
    NamesTooDeep,
    NoTensors,
    RegistryError,
    ShapesDiffer,
    ShardedNames,
    UnknownWrapper,
    WrongDeclaration,
)
from registry.tensors.spec import TensorSpec

MATRIX = TensorSpec("float32", (2, 2))


def names(text: str) -> dict[str, TensorSpec]:
    return dict.fromkeys(text.split(), MATRIX)


def read(text: str, from_: str | None = None, **facts: Any):
    declared = parse_declaration(from_) if from_ is not None else None
    return canonicalize("a file", names(text), (), Clues(declared=declared, **facts))


@pytest.mark.parametrize(
    ("given", "from_", "canonical", "wrapper"),
    [
        ("module.a.w module.b.w", None, "a.w b.w", "ddp or dp"),
        ("module.a.w module.b.w", "dp", "a.w b.w", "dp"),
        ("a.w b.w", "ddp", "a.w b.w", "ddp"),
        ("module.module.w", None, "module.w", "ddp or dp"),
        ("module.module.w", "dp(ddp)", "w", "dp(ddp)"),
        ("module.a.w module.b.w", "single", "module.a.w module.b.w", "none"),
        ("_orig_mod.module.w", None, "w", "compile(ddp or dp)"),
        ("module._orig_mod.w", None, "w", "ddp or dp(compile)"),
        ("n_averaged module.w module.b", None, "w b", "ema"),
        ("n_averaged module.module.w", None, "w", "ema(ddp or dp)"),
        ("module.n_averaged module.module.w", None, "w", "ddp or dp(ema)"),
        ("_orig_mod.n_averaged _orig_mod.module.w", None, "w", "compile(ema)"),
        ("_forward_module.module.w", None, "w", "fabric(ddp or dp)"),
        ("_fsdp_wrapped_module.a._fsdp_wrapped_module.w", None, "a.w", "fsdp"),
        ("a._checkpoint_wrapped_module.w b.w", None, "a.w b.w", "checkpoint"),
        ("a.module.w b.w", None, "a.module.w b.w", "none"),
        ("a.module.w b.w", "ddp", "a.w b.w", "ddp"),
        ("a.module.w b.module.w c.w", "ddp", "a.w b.w c.w", "ddp"),
        ("a.module.b.module.w c.w", "ddp", "a.b.module.w c.w", "ddp"),
        ("module.a.module.w module.b.w", "ddp", "a.module.w b.w", "ddp"),
        ("module.w head.w", None, "module.w head.w", "none"),
        ("module.w head.w", "ddp", "module.w head.w", "ddp"),
        ("module.module.w module.w", None, "module.w w", "ddp or dp"),
        ("n_averaged module.w head.w", None, "n_averaged module.w head.w", "none"),
        ("_orig_mod.w tail.w", None, "_orig_mod.w tail.w", "none"),
        ("se_module.w module_list.0.w submodule.w", "ddp", "se_module.w module_list.0.w submodule.w", "ddp"),
        ("Module.w", None, "Module.w", "none"),
        ("module", None, "module", "none"),
        ("model.a.w model.b.w", None, "model.a.w model.b.w", "none"),
    ],
)
def test_structure_decides(given: str, from_: str | None, canonical: str, wrapper: str) -> None:
    form = read(given, from_)
    assert " ".join(form.tensors.values()) == canonical
    assert form.wrapper == wrapper


@pytest.mark.parametrize(
    ("given", "from_", "error"),
    [
        ("module.a.w a.b", None, MixedNames),
        ("module.a.w a.w", "ddp", MixedNames),
        ("a.module.b.w a.b.v", "ddp", MixedNames),
        ("module.w", "compile", WrongDeclaration),
        ("_fsdp_wrapped_module._flat_param", None, ShardedNames),
        ("module.w", "ddp(", UnknownWrapper),
        ("module.w", "horovod", UnknownWrapper),
        (".".join("a" * 200), None, NamesTooDeep),
        ("", None, NoTensors),
    ],
)
def test_what_nothing_decides_is_refused(given: str, from_: str | None, error: type[RegistryError]) -> None:
    with pytest.raises(error):
        read(given, from_)


def test_a_doubt_is_marked() -> None:
    assert read("a.module.w b.w").unwrapping.doubts == ("a.module",)
    assert read("module.module.w").unwrapping.doubts == ("module.module",)
    assert read("module.w head.w").unwrapping.doubts == ()


@pytest.mark.parametrize(
    ("given", "from_", "doubts"),
    [
        ("module.a b module.c", "ddp", "module"),
        ("module.a b.w module.c", "dp", "module"),
        ("a.module.w a.head.w", "ddp", "a.module"),
        ("_orig_mod.w tail.w", None, "_orig_mod"),
        ("a._fsdp_wrapped_module.w a.tail.w", None, "a._fsdp_wrapped_module"),
        ("module.a b module.c", None, ""),
        ("module.a b module.c", "single", ""),
        ("module.a b module.c", "compile", ""),
        ("module.a.module.w module.a.head.w", "ddp", ""),
        ("module.", None, "module"),
    ],
)
def test_a_component_that_only_some_names_go_through_is_in_doubt(given: str, from_: str | None, doubts: str) -> None:
    form = read(given, from_)
    assert " ".join(form.unwrapping.doubts) == doubts
    assert all(form.tensors.values())


def test_a_reserved_component_beside_the_same_names_is_a_mixture_inside_a_model_too() -> None:
    with pytest.raises(MixedNames):
        read("a._orig_mod.w a.w b.w")


PIECES = st.sampled_from(["module", "_orig_mod", "", "w", "a", "n_averaged", "steps"])
PATHS = st.lists(st.lists(PIECES, min_size=1, max_size=4).map(".".join), min_size=1, max_size=5, unique=True)


@given(PATHS, st.sampled_from([None, "ddp", "dp(ddp)", "compile", "ema", "single"]))
def test_no_cut_takes_all_of_a_name(paths: list[str], from_: str | None) -> None:
    try:
        form = canonicalize(
            "a file", dict.fromkeys(paths, MATRIX), (), Clues(declared=parse_declaration(from_) if from_ else None)
        )
    except RegistryError:
        return
    assert all(canonical or not name for name, canonical in form.tensors.items())


def test_metadata_with_a_sibling_refutes_a_cut() -> None:
    modules: dict[str, Any] = {"": {}, "module": {}, "dropout": {}}
    assert list(read("module.w module.b", metadata=modules).tensors.values()) == ["module.w", "module.b"]


def test_a_prefix_is_cut_only_where_the_class_proves_it() -> None:
    expectation = Expectation(names("a.w b.w"))
    form = read("model.a.w model.b.w", expectation=expectation)
    assert list(form.tensors.values()) == ["a.w", "b.w"]
    assert (form.wrapper, form.saved_as) == ("none", "bare")


def test_a_class_that_most_names_fit_is_refused() -> None:
    wanted = {f"layer{i}.w": MATRIX for i in range(89)}
    given = " ".join(f"layer{i}.w" for i in range(77)) + " " + " ".join(f"other{i}.w" for i in range(12))
    with pytest.raises(ClassMismatch) as refused:
        read(given, expectation=Expectation(wanted))
    assert (len(refused.value.missing), len(refused.value.extra)) == (12, 12)


def test_another_shape_than_the_class_has_is_refused() -> None:
    with pytest.raises(ShapesDiffer, match="'w'"):
        read("w", expectation=Expectation({"w": TensorSpec("float32", (2,))}))


def test_single_is_refused_where_the_class_proves_a_wrapper() -> None:
    with pytest.raises(WrongDeclaration):
        read("module.w", "single", expectation=Expectation(names("w")))


def test_a_value_that_takes_the_name_of_a_tensor_is_refused() -> None:
    with pytest.raises(CollidingNames):
        canonicalize("a file", names("module.w module.b"), ("w",), Clues())


def test_a_contradicting_class_is_answered_from_the_names_in_the_file() -> None:
    form = read("module.w module.b")
    fixed = reconcile(list(form.tensors.values()), form.unwrapping, Expectation(names("module.w module.b")))
    assert fixed is not None and fixed.renamed == {"w": "module.w", "b": "module.b"}
    assert reconcile(list(form.tensors.values()), form.unwrapping, Expectation(names("w b"))) == Correction()
    assert reconcile(list(form.tensors.values()), form.unwrapping, Expectation(names("x y"))) is None


def flat(**lengths: int) -> dict[str, TensorSpec]:
    return {name.replace("__", "."): TensorSpec("float32", (length,)) for name, length in lengths.items()}


@pytest.mark.parametrize("lengths", [{"a__weight": 10, "b__weight": 0}, {"fc__weight": 0, "fc__bias": 4}])
def test_flat_tensors_of_which_one_is_empty_are_shards_where_layers_make_them_alike(lengths: dict[str, int]) -> None:
    shards = flat(**lengths)
    with pytest.raises(ShardedNames, match="--from-single"):
        canonicalize("a file", shards, (), Clues())
    assert canonicalize("a file", shards, (), Clues(declared=())).tensors.keys() == shards.keys()
    assert canonicalize("a file", shards, (), Clues(expectation=Expectation(shards))).tensors.keys() == shards.keys()


@pytest.mark.parametrize("lengths", [{"scale": 0, "weight": 3}, {"gate__offsets": 0, "gate__slope": 5, "gain": 2}])
def test_an_empty_tensor_alone_is_no_shard(lengths: dict[str, int]) -> None:
    assert canonicalize("a file", flat(**lengths), (), Clues()).tensors.keys() == flat(**lengths).keys()


def test_metadata_that_names_fsdp_makes_flat_tensors_shards() -> None:
    with pytest.raises(ShardedNames, match="metadata"):
        canonicalize("a file", flat(a=3, b=3), (), Clues(metadata={"_fsdp_wrapped_module": {}}))


def test_what_was_declared_single_no_class_cuts_later() -> None:
    form = read("module.w module.b", "single")
    fixed = reconcile(list(form.tensors.values()), form.unwrapping, Expectation(names("w b")))
    assert fixed is not None and not fixed.renamed and fixed.refused == "module"
    compiled = read("_orig_mod.w", "single")
    assert reconcile(list(compiled.tensors.values()), compiled.unwrapping, Expectation(names("w"))) == Correction()


def test_an_average_of_mmengine_is_known_by_its_counter() -> None:
    form = read("steps module.a.w module.b.w")
    assert (list(form.tensors.values()), form.wrapper) == (["a.w", "b.w"], "ema")
    assert list(form.owned) == ["steps"] and not form.unwrapping.doubts


def test_a_text_of_the_metadata_is_a_tie_only_as_a_path_or_by_the_class() -> None:
    kept = canonicalize("a file", names("pt stem.w"), (), Clues(dropped={"format": "pt", "source": "stem.w"}))
    assert not kept.restored
    told = canonicalize("a file", names("stem.w head.b"), (), Clues(dropped={"head.w": "stem.w"}))
    assert told.restored == {"head.w": "stem.w"}


def test_a_plain_value_that_the_class_does_not_have_is_left_out() -> None:
    wanted = Expectation(names("w b"), values=frozenset({"_extra_state"}))
    values = ("step", "module._extra_state", "module.rate")
    form = canonicalize("a file", names("module.w module.b"), values, Clues(expectation=wanted))
    assert form.values == {"module._extra_state": "_extra_state"} and form.foreign == ("step", "module.rate")
    assert canonicalize("a file", names("w b"), ("step",), Clues()).values == {"step": "step"}
