"""A class that a version names is imported only where this call, the user, or the home itself speaks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, strategies as st
from strangers import STRANGE, TELLTALE, edited, estrange, forget, traces

import registry
from registry import Registry, errors
from registry.modules.building.trust import Access, Recorded, User, exposure, require_trusted

pytestmark = pytest.mark.in_a_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module that tells when it runs; imports find it."""
    place = tmp_path / "modules"
    place.mkdir()
    (place / "telltale.py").write_text(TELLTALE)
    monkeypatch.syspath_prepend(str(place))
    yield place
    forget(place, "telltale")


@pytest.fixture
def pushed(hub: Registry, folder: Path) -> Registry:
    """A home with ``net:v1``, of the class ``telltale:Net``, with an example and a training state."""
    telltale = import_module("telltale")

    model = telltale.Net(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    registry.remember(model, width=3)
    hub.push(model, "net", example=torch.ones(1, 3), optimizer=optimizer)
    forget(folder, "telltale")
    return hub


def _resumed(hub: Registry) -> None:
    model = torch.nn.Linear(3, 3)
    hub.resume("net:v1", model, torch.optim.SGD(model.parameters(), lr=0.5))


VERBS: dict[str, Callable[[Registry, Path], object]] = {
    "list": lambda hub, out: hub.list(),
    "show": lambda hub, out: hub.get("net:v1"),
    "diff": lambda hub, out: hub.diff("net:v1", "net:v1"),
    "export": lambda hub, out: hub.export("net:v1", out),
    "state_dict": lambda hub, out: hub.state_dict("net:v1"),
    "resume": lambda hub, out: _resumed(hub),
    "load into an instance": lambda hub, out: hub.load("net:v1", model=torch.nn.Linear(3, 3)),
    "replay on an instance": lambda hub, out: hub.replay("net:v1", model=torch.nn.Linear(3, 3)),
    "audit": lambda hub, out: hub.audit(),
    "audit --classes": lambda hub, out: hub.audit(classes=True),
    "audit --run": lambda hub, out: hub.audit(run=True),
    "audit --repair": lambda hub, out: hub.audit(repair=True, classes=True, run=True),
}
REFUSED: dict[str, Callable[[Registry], object]] = {
    "load": lambda hub: hub.load("net:v1"),
    "load with arguments": lambda hub: hub.load("net:v1", init={"width": 3}),
    "load and verify": lambda hub: hub.load("net:v1", verify="outputs"),
    "replay": lambda hub: hub.replay("net:v1"),
}


@pytest.mark.parametrize("how", STRANGE)
@pytest.mark.parametrize("verb", REFUSED)
def test_a_class_from_a_home_that_others_may_write_is_not_imported(pushed, folder, how, verb):
    estrange(pushed, how)
    with pytest.raises(errors.UntrustedClass, match=r"model='telltale:Net'.*REGISTRY_TRUST=telltale"):
        REFUSED[verb](pushed)
    assert traces(folder) == set() and "telltale" not in sys.modules


@pytest.mark.parametrize("how", ["of another user", "that everybody may write", "with copied versions"])
@pytest.mark.parametrize("verb", VERBS)
def test_what_needs_no_class_works_in_such_a_home_and_imports_none(pushed, folder, how, verb, tmp_path):
    estrange(pushed, how)
    VERBS[verb](pushed, tmp_path / "out.safetensors")
    assert traces(folder) == set() and "telltale" not in sys.modules


@pytest.mark.parametrize("target", ["antigravity:X", "this:Zen", "train:Net", "package.antigravity:X"])
@pytest.mark.parametrize("how", ["of another user", "with copied versions"])
def test_whatever_such_a_version_names_stays_out_of_the_process(pushed, how, target, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("open('trained', 'w')\n")
    monkeypatch.chdir(tmp_path)
    edited(pushed, "net:v1", model_class=target)
    estrange(pushed, how)
    module = target.partition(":")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    for refused in REFUSED.values():
        with pytest.raises(errors.UntrustedClass):
            refused(pushed)
    for verb in VERBS.values():
        verb(pushed, tmp_path / f"{verb.__code__.co_firstlineno}.safetensors")
    assert module not in sys.modules and not (tmp_path / "trained").exists()


@pytest.mark.parametrize("target", ["os:system", "antigravity:X"])
def test_no_way_out_is_named_where_none_leads_out(pushed, target):
    edited(pushed, "net:v1", model_class=target)
    estrange(pushed, "with copied versions")
    with pytest.raises(errors.StandardLibraryTarget):
        pushed.load("net:v1")


def test_a_home_that_cannot_be_examined_speaks_for_nothing(tmp_path):
    (tmp_path / "file").touch()
    for home, why in ((tmp_path / "gone", "is not there"), (tmp_path, "is not there"), (tmp_path / "file", "examined")):
        with pytest.raises(errors.UntrustedClass, match=why):
            require_trusted(Recorded("net:v1", "telltale:Net", None, home, named_by_push=False))


@pytest.mark.parametrize("how", STRANGE)
def test_naming_the_class_in_the_call_is_enough(pushed, folder, how):
    estrange(pushed, how)
    assert pushed.load("net:v1", model="telltale:Net").in_features == 3


def test_a_class_itself_is_used_as_it_is(pushed, folder):
    estrange(pushed, "with copied versions")

    class Local(torch.nn.Linear):
        def __init__(self, width):
            super().__init__(width, width)

    loaded, report = pushed.load("net:v1", model=Local, report=True)
    assert type(loaded) is Local and not loaded.training and report.ref == "net:v1"
    assert traces(folder) == set()


def test_a_version_without_a_class_is_built_from_the_one_that_is_named(hub, folder):
    hub.push({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, "net")
    assert torch.equal(hub.load("net", model="telltale:Net").weight, torch.ones(2, 2))
    with pytest.raises(errors.ModelNeeded, match="--model"):
        hub.load("net")


@pytest.mark.parametrize("given", [dict, lambda: None, 3, "no class", torch.ones(1)])
def test_what_is_neither_a_model_nor_a_class_is_refused_in_a_sentence(pushed, given):
    with pytest.raises(errors.ModelError, match="Net"):
        pushed.load("net:v1", model=given)


def test_a_home_of_this_user_alone_needs_no_word(pushed, folder):
    assert pushed.load("net:v1").in_features == 3


def test_the_user_trusts_a_package_by_variable(pushed, folder, monkeypatch):
    estrange(pushed, "with copied versions")
    monkeypatch.setenv("REGISTRY_TRUST", "timm, telltales")
    with pytest.raises(errors.UntrustedClass):
        pushed.load("net:v1")
    monkeypatch.setenv("REGISTRY_TRUST", "timm, telltale")
    assert pushed.load("net:v1").in_features == 3


def test_the_user_trusts_a_package_in_the_configuration_file(pushed, folder, tmp_path, monkeypatch):
    estrange(pushed, "with copied versions")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config" / "checkpoint-registry" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('trust = ["telltale"]\n')
    assert pushed.load("net:v1").in_features == 3
    for wrong, said in (("trust = [", "TOML"), ('trust = "telltale"', "list"), ('trust = ["a.b"]', "'a.b'")):
        file.write_text(wrong)
        with pytest.raises(errors.ModelError, match=said):
            pushed.load("net:v1")


def test_a_configuration_that_lies_in_the_home_is_not_read(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    hub = Registry(tmp_path / "config" / "checkpoint-registry")
    telltale = import_module("telltale")

    hub.push(registry.remember(telltale.Net(3), width=3), "net")
    (hub.home / "config.toml").write_text('trust = ["telltale"]\n')
    estrange(hub, "with copied versions")
    with pytest.raises(errors.UntrustedClass):
        hub.load("net:v1")


def test_every_rank_asks_for_itself(pushed, folder, tmp_path):
    estrange(pushed, "with copied versions")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        with pytest.raises(errors.UntrustedClass):
            pushed.load("net:v1", ddp=True, rank=0)
        assert traces(folder) == set()
        assert pushed.load("net:v1", ddp=True, rank=0, model="telltale:Net").module.in_features == 3
    finally:
        dist.destroy_process_group()


def test_the_command_line_follows_the_rule(pushed, folder):
    estrange(pushed, "with copied versions")
    command = [sys.executable, "-c", "from registry.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], capture_output=True, text=True, env=environment, cwd=folder)

    refused = run("load", "net:v1")
    assert refused.returncode == 1 and "--model telltale:Net" in refused.stderr and "Traceback" not in refused.stderr
    audited = run("audit", "--classes", "--run")
    assert audited.returncode == 0 and "REGISTRY_TRUST=telltale" in audited.stderr
    assert traces(folder) == set()
    assert run("load", "net:v1", "--model", "telltale:Net").returncode == 0


def test_an_audit_builds_nothing_and_says_how_many_classes_it_left(pushed, folder):
    command = [sys.executable, "-c", "from registry.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    audited = subprocess.run([*command, "audit"], capture_output=True, text=True, env=environment, check=True)
    assert audited.stdout.splitlines()[-1] == "1 class not checked; --classes imports and builds it"
    assert traces(folder) == set()
    report = pushed.audit()
    assert report.is_clean and report.classes_left == 1 and report.unchecked_classes == ()
    built = pushed.audit(classes=True)
    assert built.is_clean and built.classes_left == 0 and traces(folder) == {"imported", "built"}


def test_an_audit_of_classes_finds_one_that_changed(pushed, folder):
    (folder / "telltale.py").write_text(TELLTALE.replace("width, width)", "width, width, bias=False)"))
    assert pushed.audit().is_clean
    [fault] = pushed.audit(classes=True).faults
    assert fault.kind == "class" and "does not have bias" in fault.what
    command = [sys.executable, "-c", "from registry.cli import main; main()", "audit", "--classes"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    audited = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert audited.returncode == 1
    assert audited.stdout.splitlines()[-1].endswith(": no damage found; not as their class is: net:v1")


@pytest.mark.parametrize("inner", ["antigravity:X", "telltale:Net"])
def test_what_a_builder_would_import_is_asked_for_too(pushed, folder, inner):
    init = {"model": inner, "config": {}}
    edited(pushed, "net:v1", model_class="registry.integrations.configuration:configured", init=init)
    estrange(pushed, "with copied versions")
    with pytest.raises(errors.UntrustedClass, match=inner):
        pushed.load("net:v1")
    with pytest.raises(errors.UntrustedClass, match=inner):
        pushed.load("net:v1", model="registry.integrations.configuration:configured")
    assert traces(folder) == set() and "antigravity" not in sys.modules


@given(
    st.builds(Access, st.integers(0, 3), st.integers(0, 3), st.integers(0, 0o777), st.booleans()),
    st.builds(User, st.integers(0, 3), st.none() | st.integers(0, 3)),
)
def test_nobody_else_can_write_what_is_not_exposed(access, user):
    others = access.mode & 0o002
    group = access.mode & 0o020 and (access.has_acl or access.group != user.own_group)
    assert (exposure(Path("x"), access, user) is None) == (access.owner == user.uid and not others and not group)
