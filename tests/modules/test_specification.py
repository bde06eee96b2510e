"""A class that cannot be imported or built is named in one sentence."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from registry import errors
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec


@pytest.mark.parametrize(
    ("target", "init", "error", "said"),
    [
        ("no colon", {}, errors.BadTarget, "package.module:Class"),
        ("no_such_package.models:Net", {}, errors.ModuleNotImportable, "no_such_package"),
        ("sample_models:ConvNett", {}, errors.NoSuchClass, "did you mean ConvNet"),
        ("collections:OrderedDict", {}, errors.StandardLibraryTarget, "standard library"),
        ("sample_models:torch", {}, errors.NotAModelClass, "module"),
        ("sample_models:make_nothing", {}, errors.NotAModel, "NoneType"),
        ("sample_models:ConvNet", {"chanels": 3}, errors.InitRefused, r"it takes \(channels=4\)"),
        ("sample_models:TakesNamespace", {"width": 3}, errors.InitRefused, "init-as namespace"),
        ("sample_models:Reinitialized", {}, errors.ConstructorFailed, "KeyError: 'vocabulary.txt'"),
        ("sample_models:ConvNet", {"channels": "many"}, errors.ConstructorFailed, "ConvNet"),
    ],
)
def test_a_class_that_cannot_be_built_is_named(target, init, error, said):
    with pytest.raises(error, match=said) as raised:
        build(ModelSpec(target, init))
    assert target.split(":")[0] in str(raised.value) and "Traceback" not in str(raised.value)


def test_a_class_in_the_current_directory_is_found_and_the_path_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "local_models.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
    (tmp_path / "quitting_models.py").write_text("import sys\nsys.exit('usage: train.py')\n")
    (tmp_path / "needy_models.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)

    module = build(ModelSpec("local_models:Net", {"in_features": 2, "out_features": 3})).module

    assert module.weight.shape == (3, 2) and sys.path == before
    with pytest.raises(errors.ModuleNotImportable, match=r"SystemExit: usage: train\.py"):
        build(ModelSpec("quitting_models:Net"))
    with pytest.raises(errors.ModuleNotImportable, match="no_such_dependency"):
        build(ModelSpec("needy_models:Net"))


def test_init_arguments_come_as_the_class_takes_them():
    module: Any = build(ModelSpec("sample_models:TakesNamespace", {"width": 3}, "namespace")).module
    assert module.linear.in_features == 3
    assert build(ModelSpec("sample_models:make_linear", {"width": 2})).module.in_features == 2
    with pytest.raises(errors.UnknownInitStyle, match="namespace"):
        ModelSpec("sample_models:ConvNet", {}, "list")


def test_of_the_arguments_offered_only_those_are_taken_that_the_class_names():
    assert ModelSpec("sample_models:ConvNet").accepted({"channels": 6, "learning_rate": 0.1}) == {"channels": 6}
