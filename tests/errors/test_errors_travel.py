"""An error that was raised in one process is the same error in another."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from typing import Any

import pytest

from registry import errors
from registry.errors.root import RegistryError, rebuild

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RegistryError)]
SAMPLES = {
    "differences": [["weight", [1], [2]]],
    "failures": [[1, "it is gone"]],
    "faults": [["other values", ["weight"]]],
    "around": {"model": ["first"]},
    "Mapping[str, int]": {"model": 3},
    "Sequence[str]": ["first", "second", "third", "fourth"],
    "int": 7,
    "float": 0.5,
    "bool": True,
}


def made(kind: type[RegistryError]) -> RegistryError:
    """Make an error of the plain values that its constructor says it takes."""
    values: dict[str, Any] = {}
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        annotation = str(parameter.annotation).partition(" |")[0]
        values[parameter.name] = SAMPLES.get(parameter.name, SAMPLES.get(annotation, f"the {parameter.name}"))
        if parameter.name == "differences" and "str, str, str" in annotation:
            values[parameter.name] = [["weight", "float32", "float16"]]
    return kind(**values)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_equal_from_json(kind: type[RegistryError]) -> None:
    error = made(kind)
    sent = json.loads(json.dumps(error.document()))
    back = rebuild(sent["code"], sent["fields"])
    assert type(back) is kind and str(back) == str(error) == sent["message"]
    assert back.document() == sent
    public = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    assert json.dumps({name: getattr(back, name) for name in public}, default=str) == json.dumps(public, default=str)


def test_an_error_can_be_pickled() -> None:
    error = errors.UnknownVersion("net:v9", "the versions of net go from v1 to v2", ["net:v2"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_codes_are_stable_words_and_no_two_errors_share_one() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in codes)
    assert errors.UnknownVersion.code == "unknown-version" and errors.NotARegistry.code == "not-a-registry"
