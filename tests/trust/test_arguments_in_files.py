"""What a file says that its class is called with is offered, and reaches the class only if that is asked for."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from invocation import run

from registry import errors
from registry.cli.options import parse_init
from registry.modules.building.offer import as_options

pytestmark = pytest.mark.in_a_folder

NETS = """
from torch import nn
class Net(nn.Linear):
    def __init__(self, width=2, log=None):
        if log: open(log, "w")
        super().__init__(width, width)
class Needy(nn.Linear):
    def __init__(self, width, log=None): super().__init__(width, width)
class Namespaced(nn.Linear):
    def __init__(self, args): super().__init__(args.width, args.width)
class Checking(nn.Linear):
    def __init__(self, width=0):
        if not width: raise ValueError("width is 0")
        super().__init__(width, width)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "offered_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("offered_nets", None)


def saved(folder: Path, width: int, key: str = "hyper_parameters", **more: object) -> Path:
    state = torch.nn.Linear(width, width).state_dict()
    torch.save({"state_dict": state, key: {"width": width, "lr": 0.1, **more}}, folder / "net.ckpt")
    return folder / "net.ckpt"


@pytest.mark.parametrize("key", ["hyper_parameters", "hparams", "model_args", "init_args"])
def test_a_path_in_a_strangers_file_is_not_opened(hub, tmp_path, key):
    file = saved(tmp_path, 2, key, log=str(tmp_path / "opened"))
    for entry in (hub.push(file, model="offered_nets:Net"), hub.inspect(file, model="offered_nets:Net")):
        notices = entry.notices if hasattr(entry, "notices") else entry.notes
        assert f"--init log={tmp_path / 'opened'}" in notices[-1] and "--init-from-file" in notices[-1]
    assert hub.get("net").init == {} and not (tmp_path / "opened").exists()


def test_what_is_offered_is_taken_when_it_is_asked_for(hub, tmp_path):
    file = saved(tmp_path, 3)
    entry = hub.push(file, model="offered_nets:Net", init_from_file=True)
    assert entry.init == {"width": 3} and "taken from the file: width" in entry.notices[-1]
    assert hub.load("net").in_features == 3


def test_what_is_given_outweighs_what_the_file_says(hub, tmp_path):
    file = saved(tmp_path, 3, log=str(tmp_path / "opened"))
    hub.push(file, model="offered_nets:Net", init={"log": None}, init_from_file=True)
    assert hub.get("net").init == {"width": 3, "log": None} and not (tmp_path / "opened").exists()


@pytest.mark.parametrize("name", ["Net", "Needy", "Checking"])
@pytest.mark.parametrize("way", ["push", "inspect"])
def test_a_class_that_cannot_do_without_is_refused_with_the_values_and_the_flag(hub, tmp_path, name, way):
    with pytest.raises(errors.InitInFile, match=r"--init width=3.*--init-from-file") as raised:
        getattr(hub, way)(saved(tmp_path, 3), model=f"offered_nets:{name}")
    assert "\n" not in str(raised.value)
    hub.push(saved(tmp_path, 3), model=f"offered_nets:{name}", init_from_file=True)
    assert hub.load("net").in_features == 3


def test_a_class_that_takes_one_object_is_refused_so_too(hub, tmp_path):
    file = saved(tmp_path, 3)
    with pytest.raises(errors.InitInFile, match=r"--init width=3.*--init-from-file"):
        hub.push(file, model="offered_nets:Namespaced", init_as="namespace")
    entry = hub.push(file, model="offered_nets:Namespaced", init_as="namespace", init_from_file=True)
    assert entry.init["width"] == 3


def test_there_has_to_be_something_to_take_and_somebody_to_take_it(hub, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "bare.pth")
    with pytest.raises(errors.NoInitInFile, match="no constructor arguments"):
        hub.push(tmp_path / "bare.pth", model="offered_nets:Net", init_from_file=True)
    with pytest.raises(errors.NoInitInFile, match="without a class"):
        hub.push(saved(tmp_path, 2), init_from_file=True)


def test_the_command_line_takes_what_it_printed(hub, tmp_path):
    file = saved(tmp_path, 3)
    refused = run("push", file, "--model", "offered_nets:Net", home=hub.address, expect=1)
    assert "--init width=3" in refused.stderr and "--init-from-file" in refused.stderr
    run("push", file, "given", "--model", "offered_nets:Net", "--init", "width=3", home=hub.address)
    run("push", file, "taken", "--model", "offered_nets:Net", "--init-from-file", home=hub.address)
    assert hub.get("given").init == hub.get("taken").init == {"width": 3}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True), plain, max_size=4))
def test_the_printed_options_give_the_values_back(arguments):
    options = as_options(arguments)
    assert options.isprintable() and len(options) < 500
    words, left = options, "0"
    if options.endswith(" more"):
        words, _, left = options.removesuffix(" more").rpartition(" and ")
    given_words = [word for word in shlex.split(words) if word != "--init"]
    read = parse_init(given_words) or {}
    assert json.dumps(read) == json.dumps({name: arguments[name] for name in read})
    assert len(read) + int(left) == len(arguments)
