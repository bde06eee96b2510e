"""What the verbs return, as a notebook or a prompt shows it; and an entry in the place of a reference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import registry
from registry import Entry, Registry, errors


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 1)


HOSTILE = "<script>alert('&')</script>"


@pytest.fixture
def entry(hub: Registry) -> Entry:
    first = hub.push(Net(), "net", metrics={"acc": 0.5}, step=1)
    return hub.push(Net(), "net", metrics={"acc": 0.9}, tags={"task": HOSTILE}, note=HOSTILE, parent=first)


SHOWN: dict[str, Callable[[Registry], Any]] = {
    "entry": lambda hub: hub.get("net"),
    "list": lambda hub: hub.list("net"),
    "load": lambda hub: hub.load("net", model=Net(), report=True)[1],
    "diff": lambda hub: hub.diff("net:v1", "net:v2"),
    "audit": lambda hub: hub.audit(),
    "check": lambda hub: hub.check("net:v1", "net:v2"),
    "prune": lambda hub: hub.prune("net", keep_last=1),
    "blame": lambda hub: hub.blame("net"),
    "models": lambda hub: hub.models(),
    "log": lambda hub: hub.log(),
    "an event": lambda hub: hub.log()[0],
    "a model": lambda hub: hub.models()[0],
}


class Strict(HTMLParser):
    """What stands in HTML; it raises at a tag that is not of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.open = "", []  # type: tuple[str, list[str]]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in ("p", "table", "thead", "tbody", "tr", "th", "td"), tag
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


@pytest.mark.parametrize("what", [what for what in SHOWN if not what.startswith("a")] + ["audit"])
@pytest.mark.in_a_folder
def test_a_notebook_shows_what_a_verb_returns_as_a_table(hub: Registry, entry: Entry, what: str):
    page = Strict()
    page.feed(SHOWN[what](hub)._repr_html_())
    assert not page.open and page.text.strip()


@pytest.mark.parametrize("what", SHOWN)
@pytest.mark.in_a_folder
def test_a_prompt_shows_it_in_one_short_line(hub: Registry, entry: Entry, what: str):
    shown = repr(SHOWN[what](hub))
    assert len(shown) < 200 and "\n" not in shown and shown.startswith("<") and shown.endswith(">")


@pytest.mark.parametrize("what", ["entry", "list"])
def test_a_text_of_somebody_is_shown_as_a_text(hub: Registry, entry: Entry, what: str):
    html = SHOWN[what](hub)._repr_html_()
    assert "<script" not in html
    page = Strict()
    page.feed(html)
    assert HOSTILE in page.text


def test_names_in_a_file_cannot_write_a_page(hub: Registry):
    for value in (0.0, 1.0):
        hub.push({"<b>x</b>": torch.full((2,), value), "a\nb": torch.zeros(1)}, "net")
    for shown in (hub.diff("net:v1", "net:v2"), hub.blame("net"), hub.check("net:v1", "net:v2")):
        assert "<b>" not in shown._repr_html_()


def test_a_long_list_is_cut_and_counted(hub: Registry):
    hub.push({f"t{number}": torch.full((1,), float(number)) for number in range(300)}, "net")
    hub.push({f"t{number}": torch.full((1,), number + 0.5) for number in range(300)}, "net")
    html = hub.diff("net:v1", "net:v2")._repr_html_()
    assert html.count("<tr>") == 201 and "and 100 more" in html


def test_an_entry_reads_as_its_reference(entry: Entry):
    assert str(entry) == "net:v2" and repr(entry).startswith("<Entry net:v2 ") and "acc=0.9" in repr(entry)


def test_a_list_is_a_tuple_and_without_pandas_says_what_a_frame_needs(
    hub: Registry, entry: Entry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pandas", None)
    found = hub.list("net")
    assert [*found] == [hub.get("net:v2"), hub.get("net:v1")] and isinstance(found, tuple)
    with pytest.raises(errors.PandasMissing, match="pip install pandas"):
        found.to_frame()


@pytest.mark.ecosystem
def test_a_list_is_a_data_frame_with_metrics_and_tags_as_columns(hub: Registry, entry: Entry):
    frame = hub.list("net").to_frame()
    assert list(frame["ref"]) == ["net:v2", "net:v1"] and list(frame["metrics.acc"]) == [0.9, 0.5]
    assert frame["tags.task"][0] == HOSTILE and frame["step"][1] == 1
    assert list(frame.sort_values("metrics.acc")["version"]) == [1, 2]
    assert list(hub.list("net", trashed=True).to_frame().columns)[:3] == ["ref", "name", "version"]


TAKING: dict[str, Callable[[Registry, Entry, Path], Any]] = {
    "get": lambda hub, entry, folder: hub.get(entry),
    "load": lambda hub, entry, folder: hub.load(entry, model=Net()),
    "state_dict": lambda hub, entry, folder: hub.state_dict(entry),
    "resume": lambda hub, entry, folder: hub.resume(entry, Net()),
    "check": lambda hub, entry, folder: hub.check(entry, entry).require(),
    "check a model": lambda hub, entry, folder: hub.check(hub.load(entry, model=Net()), entry).require(),
    "diff": lambda hub, entry, folder: hub.diff(entry, entry),
    "export": lambda hub, entry, folder: hub.export(entry, folder / "net.safetensors"),
    "alias": lambda hub, entry, folder: hub.alias(entry, "paper"),
    "log": lambda hub, entry, folder: hub.log(entry),
    "audit": lambda hub, entry, folder: hub.audit(entry),
    "blame": lambda hub, entry, folder: hub.blame(entry),
    "push": lambda hub, entry, folder: hub.push(Net(), "net", parent=entry),
    "rm and restore": lambda hub, entry, folder: (hub.rm(entry), hub.restore(entry)),
}


@pytest.mark.parametrize("verb", TAKING)
@pytest.mark.in_a_folder
def test_an_entry_stands_for_its_reference(hub: Registry, entry: Entry, verb: str, tmp_path: Path):
    TAKING[verb](hub, hub.get("net:v1"), tmp_path)


MOVING: dict[str, Callable[[Registry, Path, Any], Any]] = {
    "load": lambda hub, folder, progress: hub.load("net", model=Net(), progress=progress),
    "load resident": lambda hub, folder, progress: hub.load("net", model=Net(), resident=True, progress=progress),
    "export": lambda hub, folder, progress: hub.export("net", folder / "net.safetensors", progress=progress),
    "export pth": lambda hub, folder, progress: hub.export("net", folder / "net.pth", progress=progress),
    "audit": lambda hub, folder, progress: hub.audit("net:v2", progress=progress),
}


@pytest.mark.parametrize("verb", MOVING)
@pytest.mark.in_a_folder
def test_progress_is_told_with_the_total_and_ends_there(hub: Registry, entry: Entry, verb: str, tmp_path: Path):
    told: list[tuple[int, int]] = []
    MOVING[verb](hub, tmp_path, lambda done, total: told.append((done, total)))
    assert told == sorted(told) and {total for _, total in told} == {entry.byte_count}
    assert told[-1] == (entry.byte_count, entry.byte_count)


def test_the_package_has_the_new_verbs():
    assert {"prune", "blame"} <= set(registry.VERBS)
