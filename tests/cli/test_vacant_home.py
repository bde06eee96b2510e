"""A place without a registry, such as a mistyped ``REGISTRY_HOME``: reading makes none and says who named the place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from invocation import run
from torch import nn

import registry
from registry import Registry
from registry.cli import main
from registry.errors import DatabaseMissing, HomeUnusable, NoRegistry, RegistryError, UnknownModel
from registry.home.place import home_place

READING = [
    "list",
    "list --trash",
    "list net",
    "list acc>=0.5",
    "models",
    "models net",
    "log",
    "log --verb push",
    "log net",
    "audit",
    "audit net",
    "gc",
    "gc --dry-run",
    "doctor",
    "db current",
    "db upgrade",
    "show net",
    "load net:best",
    "check net:v1 net:v2",
    "diff net:v1 net:v2",
    "export net out.pth",
    "alias net:v1 best",
    "alias net best --remove",
    "alias --rollback net:best",
    "tag net a=b",
    "annotate net --note x",
    "rename net other",
    "rm net:v1",
    "rm net --all-versions",
    "restore net",
    "prune net --keep-last 1",
    "blame net",
    "card net",
    "copy net ./net.bundle",
    "copy --all ./net.bundle",
    "copy --all ./elsewhere",
]


@pytest.mark.parametrize("command", READING)
def test_what_reads_makes_no_home_and_says_where_it_looked(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(*command.split(), home=tmp_path / "mistyped", expect=1)
    assert said.stderr.splitlines() == [
        f"registry: there is no registry at {tmp_path / 'mistyped'} (from REGISTRY_HOME); `registry push FILE` makes "
        "one there, and --home or REGISTRY_HOME names another place"
    ]
    assert said.stdout == ""
    assert list(tmp_path.iterdir()) == []


VERBS: dict[str, Callable[[Registry], object]] = {
    "list": lambda hub: hub.list(),
    "a page of a list": lambda hub: hub.list(after="token"),
    "models": lambda hub: hub.models(),
    "log": lambda hub: hub.log(),
    "audit": lambda hub: hub.audit(),
    "gc": lambda hub: hub.gc(dry_run=True),
    "doctor": lambda hub: hub.doctor(),
    "get": lambda hub: hub.get("net"),
    "load": lambda hub: hub.load("net"),
    "state_dict": lambda hub: hub.state_dict("net"),
    "resume": lambda hub: hub.resume("net", nn.Linear(1, 1)),
    "check": lambda hub: hub.check(nn.Linear(1, 1), "net"),
    "replay": lambda hub: hub.replay("net"),
    "rm": lambda hub: hub.rm("net:v1"),
    "restore": lambda hub: hub.restore("net:v1"),
    "copy": lambda hub: hub.copy(None, "./elsewhere"),
    "card": lambda hub: hub.card("net", "# Net"),
    "unalias": lambda hub: hub.unalias("net", "best"),
    "the catalog": lambda hub: hub.catalog,
    "a push with a parent": lambda hub: hub.push({"a": torch.ones(1), "b": torch.ones(1)}, "net", parent="other"),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_every_verb_of_python_says_the_same(verb: Callable[[Registry], object], tmp_path: Path) -> None:
    with pytest.raises(NoRegistry, match=r"mistyped \(from the argument home\)"):
        verb(Registry(tmp_path / "mistyped"))
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_says_who_named_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path / "variable"))
    assert f"{tmp_path / 'variable'} (from REGISTRY_HOME)" in _refusal(registry.list)
    monkeypatch.delenv("REGISTRY_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert ", which is the default where neither --home nor REGISTRY_HOME names a folder" in _refusal(registry.list)
    option = run("list", "--home", tmp_path / "option", home=tmp_path / "variable", expect=1).stderr
    assert f"{tmp_path / 'option'} (from --home)" in option


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run("list", home=tmp_path, expect=1)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_what_looks_at_files_alone_needs_no_home(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pth")
    run("inspect", tmp_path / "net.pth", home=tmp_path / "home")
    run("check", tmp_path / "net.pth", tmp_path / "net.pth", home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_push_of_nothing_makes_no_home(tmp_path: Path) -> None:
    run("push", tmp_path / "nothing.pth", home=tmp_path / "home", expect=1)
    assert not (tmp_path / "home").exists()


def test_the_first_push_makes_the_home_and_the_same_registry_reads_it(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    with pytest.raises(NoRegistry):
        hub.get("net")
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth")
    assert [entry.ref for entry in hub.list()] == ["net:v1"]


def test_an_import_that_only_says_what_it_would_store_makes_no_home(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "old" / "net.pth")
    assert "new" in run("import", tmp_path / "old", "--dry-run", home=tmp_path / "home").stdout
    assert not (tmp_path / "home").exists()


def test_a_copy_makes_the_home_it_goes_to(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"a": torch.ones(1), "b": torch.ones(1)}, "net")
    hub.copy("net", tmp_path / "net.bundle")
    taken = Registry(tmp_path / "other")
    taken.copy(tmp_path / "net.bundle")
    assert [entry.ref for entry in taken.list()] == ["net:v1"]


def test_what_is_not_found_is_said_with_the_home_that_was_searched(hub: Registry) -> None:
    hub.push({"a": torch.ones(1), "b": torch.ones(1)}, "net")
    with pytest.raises(UnknownModel, match=f"there is no model 'other' in {hub.home}"):
        hub.get("other")
    for ref in ("net:v7", "net:best", "net@abcdef"):
        assert f"'{ref}' names nothing in {hub.home}: " in _refusal(lambda ref=ref: hub.get(ref))  # type: ignore[misc]


def test_bytes_without_their_database_are_left_alone(hub: Registry) -> None:
    """A new database would take them for garbage."""
    hub.push({"a": torch.ones(1), "b": torch.ones(1)}, "net")
    hub.close()
    for part in hub.home.glob("registry.db*"):
        part.unlink()
    before = sorted(hub.home.rglob("*"))
    for verb in (hub.list, hub.gc, lambda: hub.push({"a": torch.zeros(1), "b": torch.ones(1)}, "net")):
        with pytest.raises(DatabaseMissing, match="put a backup in its place"):
            verb()
    assert sorted(hub.home.rglob("*")) == before


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
@pytest.mark.parametrize("words", [["list"], ["push", "net.pth"], ["doctor", "--json"], ["models"]])
def test_a_user_without_a_home_directory_is_told_to_name_a_place(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.pth").write_bytes(b"")
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGISTRY_HOME", raising=False)
    run(*words, home=tmp_path / "mistyped", expect=1)  # so that all modules are there that nobody could import
    home_place()
    printed, said = os.pipe()
    child = os.fork()
    if child == 0:
        for name in ("HOME", "REGISTRY_HOME"):
            os.environ.pop(name, None)
        os.setgid(54321)
        os.setuid(54321)
        os.dup2(said, 2)
        sys.stderr = open(2, "w")  # noqa: SIM115
        sys.argv = ["registry", *words]
        code = 99
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(said)
    with os.fdopen(printed) as stream:
        lines = stream.read().splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert lines == [
        "registry: the user with the number 54321 has no home directory here, so there is no default place for the "
        "registry; name a folder with --home or REGISTRY_HOME"
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.in_a_folder
def test_a_home_directory_that_nobody_has_is_no_folder_here(
    hub: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.push({"a": torch.ones(1), "b": torch.ones(1)}, "net")
    for place in ("~nobody-is-called-so/home/", "~nobody-is-called-so/net.bundle"):
        assert "does not exist here" in _refusal(lambda place=place: hub.copy("net", place))  # type: ignore[misc]
    with pytest.raises(HomeUnusable):
        Registry("~nobody-is-called-so/home")
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def _refusal(act: Callable[[], object]) -> str:
    with pytest.raises(RegistryError) as refused:
        act()
    return str(refused.value)


def test_a_refusal_travels_with_its_place(tmp_path: Path) -> None:
    error = json.loads(run("list", "--json", home=tmp_path / "mistyped", expect=1).stdout)["error"]
    assert error["code"] == "no-registry"
    assert error["fields"] == {"home": str(tmp_path / "mistyped"), "source": "REGISTRY_HOME"}


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("127.0.0.1:8080", "did you mean http://127.0.0.1:8080?"),
        ("hub.lab.example:8443/models", "did you mean http://hub.lab.example:8443?"),
        ("[::1]:8080", "did you mean http://[::1]:8080?"),
        ("http://127.0.0.1:8080/models/net", "did you mean http://127.0.0.1:8080?"),
        ("postgresql://ann:hush@db/models", "`registry init --help`"),
    ],
)
def test_a_server_or_database_that_is_misspelled_makes_no_folder_of_that_name(
    given: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2)}, "net.pth")
    monkeypatch.setenv("REGISTRY_HOME", given)
    monkeypatch.setattr(sys, "argv", ["registry", "push", "net.pth"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr().err
    assert ended.value.code == 1 and near in said and "hush" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_a_path_is_a_folder_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_place(Path("host:8080")).folder == tmp_path / "host:8080"
    assert home_place("./host:8080").folder == tmp_path / "host:8080"


def test_a_folder_that_is_there_may_be_called_like_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hub:8080").mkdir()
    assert Registry("hub:8080").push({"w": torch.ones(2)}, "net").ref == "net:v1"
    assert [each.name for each in tmp_path.iterdir()] == ["hub:8080"]
