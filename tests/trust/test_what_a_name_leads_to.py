"""What a name leads to is a class of models or a plain function, and nothing of the standard library; before a call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from strangers import edited, estrange

import registry
from registry import Registry, errors

pytestmark = pytest.mark.in_a_folder

MODULE = """
import functools, os, shutil, subprocess
import os as operating
from shutil import rmtree as rmtree
from torch import nn

run = subprocess.getoutput
touch = functools.partial(open, mode="w")
shell = os.system
from test.support.os_helper import rmtree as rmtree_of_tests

class Net(nn.Linear):
    system = staticmethod(os.system)
    getoutput = staticmethod(subprocess.getoutput)
    os = os
    def __init__(self, width=2): super().__init__(width, width)
    @classmethod
    def made(cls, width=2): return cls(width)
    @staticmethod
    def static(width=2): return Net(width)

class Plain: pass

class Callable:
    def __call__(self, width=2): return Net(width)

called = Callable()
method = called.__call__
instance = Net()
anonymous = lambda width=2: Net(width)

def make_net(width=2): return Net(width)
cached = functools.lru_cache(make_net)

@functools.wraps(os.system)
def pretended(width=2): return Net(width)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "modules"
    (place / "packaged").mkdir(parents=True)
    (place / "leading.py").write_text(MODULE)
    (place / "packaged" / "__init__.py").write_text(
        "import subprocess, sys\nsys.modules['packaged.moved'] = subprocess\n"
    )
    monkeypatch.syspath_prepend(str(place))
    yield place
    for name in ("leading", "packaged", "packaged.moved"):
        sys.modules.pop(name, None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "net.pth")
    return tmp_path / "net.pth"


LIBRARY = [
    "os:system",
    "os.path:join",
    "builtins:exec",
    "subprocess:Popen",
    "antigravity:X",
    "leading:os.system",
    "leading:operating.system",
    "leading:shell",
    "leading:run",
    "leading:rmtree",
    "leading:shutil.rmtree",
    "leading:Net.os.system",
    "leading:Net.system",
    "leading:Net.getoutput",
    "leading:subprocess.Popen",
    "leading:touch",
    "leading:pretended",
    "packaged.moved:getoutput",
    "torch:os.system",
    "leading:rmtree_of_tests",
    "test.support.os_helper:rmtree",
]
OTHER = [
    "leading:Plain",
    "leading:called",
    "leading:method",
    "leading:instance",
    "leading:Net.made",
    "leading:instance.forward",
    "leading:make_net.__globals__",
    "leading:make_net.__call__",
    "torch:tensor",
]


@pytest.mark.parametrize("target", LIBRARY)
def test_nothing_of_the_standard_library_is_called_by_whatever_path(hub, file, tmp_path, target):
    marker = tmp_path / "ran"
    init = {"command": f"touch {marker}", "cmd": f"touch {marker}"}
    imported = {"antigravity"} & set(sys.modules)
    with pytest.raises(errors.StandardLibraryTarget, match="standard library"):
        hub.push(file, model=target, init=init)
    hub.push(file)
    with pytest.raises(errors.StandardLibraryTarget):
        hub.load("net", model=target, init=init)
    edited(hub, "net:v1", model_class=target, init=init)
    with pytest.raises(errors.StandardLibraryTarget):
        hub.load("net")
    assert hub.audit(classes=True, run=True).is_clean
    assert not marker.exists() and {"antigravity"} & set(sys.modules) == imported


@pytest.mark.parametrize("target", OTHER)
def test_what_is_neither_a_class_of_models_nor_a_function_is_not_called(hub, file, target):
    with pytest.raises(errors.NotAModelClass):
        hub.push(file, model=target)


@pytest.mark.parametrize("target", ["leading:Net", "leading:make_net", "leading:anonymous", "leading:Net.static"])
@pytest.mark.parametrize("how", [None, "with copied versions"])
def test_a_class_or_function_that_a_push_names_comes_back(hub, file, target, how, monkeypatch):
    hub.push(file, model=target)
    if how is not None:
        estrange(hub, how)
        with pytest.raises(errors.UntrustedClass):
            hub.load("net")
        monkeypatch.setenv("REGISTRY_TRUST", "leading")
    assert hub.load("net").in_features == 2


def test_a_function_that_a_live_push_names_comes_back(hub):
    leading = import_module("leading")

    assert hub.push(leading.Net(), "net", model="leading:make_net", init={}).model_class == "leading:make_net"
    assert hub.load("net").in_features == 2
    assert hub.audit(classes=True).is_clean and hub.push(leading.instance, "other").model_class == "leading:Net"


def test_a_function_in_the_place_of_a_class_that_was_read_off_a_model_is_not_called(hub, modules):
    leading = import_module("leading")

    hub.push(registry.remember(leading.Net(), width=2), "net")
    (modules / "leading.py").write_text("def Net(width): open('called', 'w')\n")
    del sys.modules["leading"]
    with pytest.raises(errors.NotAModelClass, match="a function"):
        hub.load("net")


def test_a_name_that_only_some_homes_may_lead_to_is_asked_before_its_form(hub: Registry, file: Path):
    hub.push(file, model="leading:Net")
    estrange(hub, "with copied versions")
    with pytest.raises(errors.UntrustedClass) as raised:
        hub.load("net")
    assert not isinstance(raised.value, errors.StandardLibraryTarget)
