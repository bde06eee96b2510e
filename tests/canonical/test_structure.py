"""Without a class: what structure and declaration decide, by the names alone."""

from __future__ import annotations

from typing import Any

import pytest

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
        ("module.a.w module.b.w", None, "a.w b.w", "ddp"),
        ("module.a.w module.b.w", "dp", "a.w b.w", "dp"),
        ("a.w b.w", "ddp", "a.w b.w", "ddp"),
        ("module.module.w", None, "module.w", "ddp"),
        ("module.module.w", "dp(ddp)", "w", "dp(ddp)"),
        ("module.a.w module.b.w", "single", "module.a.w module.b.w", "none"),
        ("_orig_mod.module.w", None, "w", "compile(ddp)"),
        ("module._orig_mod.w", None, "w", "ddp(compile)"),
        ("n_averaged module.w module.b", None, "w b", "ema"),
        ("n_averaged module.module.w", None, "w", "ema(ddp)"),
        ("module.n_averaged module.module.w", None, "w", "ddp(ema)"),
        ("_orig_mod.n_averaged _orig_mod.module.w", None, "w", "compile(ema)"),
        ("_forward_module.module.w", None, "w", "fabric(ddp)"),
        ("_fsdp_wrapped_module.a._fsdp_wrapped_module.w", None, "a.w", "fsdp"),
        ("a._checkpoint_wrapped_module.w b.w", None, "a.w b.w", "checkpoint"),
        ("a.module.w b.w", None, "a.module.w b.w", "none"),
        ("a.module.w b.w", "ddp", "a.w b.w", "ddp"),
        ("a.module.w b.module.w c.w", "ddp", "a.w b.w c.w", "ddp"),
        ("a.module.b.module.w c.w", "ddp", "a.b.module.w c.w", "ddp"),
        ("module.a.module.w module.b.w", "ddp", "a.module.w b.w", "ddp"),
        ("module.w head.w", None, "module.w head.w", "none"),
        ("module.w head.w", "ddp", "module.w head.w", "ddp"),
        ("module.module.w module.w", None, "module.w w", "ddp"),
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


def test_flat_tensors_of_which_one_is_empty_are_shards() -> None:
    shards = {"a.weight": TensorSpec("float32", (10,)), "b.weight": TensorSpec("float32", (0,))}
    with pytest.raises(ShardedNames):
        canonicalize("a file", shards, (), Clues())
