"""Whatever stands in a catalog is text on a page and in a file: what verbs take, and what somebody wrote into it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hostile import FORMULAS, LONG, TEXTS, nothing_ran
from hypothesis import given, settings, strategies as st
from looking import Open, browser as browser, look as look
from safetensors.torch import save_file
from served import Served, serving
from torch import nn

from registry import Registry
from registry.catalog.actor import acting_as
from registry.server.pages import tables

pytestmark = pytest.mark.services

ALL = (*TEXTS, *FORMULAS, *LONG)
PARTS = ("/tensors", "/names", "/files", "/events")
LISTS = (
    *("/", "/versions", "/versions?q=sort:m", "/models/net", "/models/net?metric=m", "/activity", "/storage", "/trash"),
    "/compare?ref=net:v1&ref=net:v2&ref=net:v3&ref=net:v4&ref=net:v5&measure=1",
)
COLUMNS = (
    *("model_class", "source_name", "weights_key", "creator", "run", "builder", "git_commit", "torch_version"),
    *("source_uri", "wrapper", "saved_as", "source_digest", "saved_at"),
)
csv.field_size_limit(1 << 24)
PHONE = {"width": 390, "height": 800}


class Made(nn.Module):
    """Takes any constructor arguments."""

    def __init__(self, **arguments: object) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)


def fill(folder: Path) -> Path:
    """Push a version for each text, with the text wherever a verb takes one."""
    hub = Registry(folder / "home")
    for number, text in enumerate(ALL):
        short = "".join(letter for letter in text if letter.isprintable())[:200]
        source = folder / f"folder-{number}"
        source.mkdir()
        name = short.replace("/", "∕").replace("\\", "")[:60]
        (source / f"tokenizer.{name}").write_text("a")
        (source / "config.json").write_text(json.dumps({text: text}))
        save_file({f"layer.{text}.w": torch.ones(3) * number, "bias": torch.zeros(2)}, source / "model.safetensors")
        with acting_as(short, client=short):
            hub.push(
                source,
                "net",
                metrics={"m": number / 10, "loss/" + "k" * 120: 1.0, "a@b%c:d+e": 2.0},
                tags={"t" * 64: short, "task": short},
                aliases=[f"a-{number}-" + "l" * 100],
                note=text.encode()[:9_999].decode(errors="ignore"),
                run="r" * 128,
                parent=f"net:v{number}" if number else None,
            )
        arguments = {"text": text, text[:5_000]: [text, {"deep": text}]}
        hub.push(Made(**arguments).state_dict(), "made", model=Made, init=arguments, force_new=True)
    hub.card("net", "\n\n".join(ALL))
    hub.audit()
    hub.close()
    return hub.home


def edit(home: Path) -> None:
    """Write each text also where no verb takes it, as who has the file can."""
    with sqlite3.connect(home / "registry.db") as catalog:
        ids = [row[0] for row in catalog.execute("SELECT id FROM versions WHERE model_id = 1 ORDER BY number")]
        for number, text in zip(ids, ALL, strict=True):
            catalog.execute("UPDATE metrics SET key = ? WHERE version_id = ? AND key LIKE 'loss/%'", (text, number))
            catalog.execute("UPDATE tags SET key = ? WHERE version_id = ? AND key LIKE 'tttt%'", (text, number))
            catalog.execute("UPDATE tags SET value = ? WHERE version_id = ? AND key = 'task'", (text, number))
            catalog.execute("UPDATE aliases SET name = ? WHERE version_id = ?", (text, number))
            columns = ", ".join(f"{column} = :text" for column in COLUMNS)
            catalog.execute(f"UPDATE versions SET {columns} WHERE id = :id", {"text": text, "id": number})
            catalog.execute(
                "INSERT INTO events (id, at, actor, verb, name, reference, digest, details, previous, hash)"
                " SELECT 1000 + ?, at, ?, ?, name, reference, digest, ?, ?, ? FROM events WHERE id = 1",
                (number, text, text, json.dumps({text: text, "deep": {text: [text]}}), text, text),
            )
    catalog.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(fill(tmp_path_factory.mktemp("kept"))) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = fill(tmp_path_factory.mktemp("edited"))
    edit(home)
    with serving(home) as running:
        yield running


@pytest.mark.parametrize("number", range(1, len(ALL) + 1))
def test_no_fact_of_a_version_is_markup_or_wider_than_a_phone(
    look: Open, kept: Served, served: Served, number: int
) -> None:
    for each in (kept, served):
        page = look("/login", of=each, viewport=PHONE, refused=True)
        # Weights of a version that was edited are refused, in a sentence.
        for path in (
            *(f"net:v{number}{part}" for part in (PARTS if each is kept else PARTS[2:])),
            f"net:v{number}",
            f"made:v{number}",
        ):
            page.goto(f"{each.url}/models/{path}")
            assert nothing_ran(page), path
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.close()


@pytest.mark.parametrize("path", LISTS)
def test_no_fact_of_many_versions_is_markup_or_wider_than_a_phone(
    look: Open, kept: Served, served: Served, path: str
) -> None:
    for each in (kept, served):
        page = look(path, of=each, viewport=PHONE, refused=True)
        assert nothing_ran(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()


@pytest.mark.parametrize(
    "path",
    (
        *("/?", "/versions?", "/activity?", "/storage?", "/models/net:v1/events?"),
        *("/models/net:v11/tensors?", "/models/net:v13/names?", "/compare?ref=net:v11&ref=net:v12&ref=net:v17&"),
    ),
)
def test_a_file_of_a_table_is_whole_and_no_cell_of_it_is_a_formula(kept: Served, served: Served, path: str) -> None:
    for each in (kept, served):
        answer = each.get(f"{path}format=csv")
        if each is served and answer.status != 200:
            assert answer.code == "changed-version"
            continue
        written = answer.body.decode()
        read = list(csv.reader(io.StringIO(written, newline=""), strict=True))
        assert len(read) > 1 and {len(row) for row in read} == {len(read[0])}
        assert [cell for row in read for cell in row if runs(cell)] == []
        assert len(json.loads(each.get(f"{path}format=json").body)) == len(read) - 1


def test_a_metric_does_not_take_the_place_of_a_fact_and_what_is_infinite_is_a_text(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"w": torch.tensor([1.0, float("inf")])}, "net", metrics={"bytes": 0.5, "digest": -1, "acc": 1})
    hub.close()
    with serving(hub.home) as running:
        [row] = json.loads(running.get("/versions?format=json").body)
        assert (row["version"], row["bytes"], len(row["digest"])) == ("net:v1", 8, 64)
        assert (row["metrics.bytes"], row["metrics.digest"], row["acc"]) == (0.5, -1, 1)
        header, values = csv.reader(io.StringIO(running.get("/versions?format=csv").body.decode()))
        assert len(set(header)) == len(header) and values[header.index("metrics.digest")] == "-1.0"
        running.get("/models/net:v1/tensors")  # which reads the values
        [tensor] = json.loads(running.get("/models/net:v1/tensors?format=json").body, parse_constant=pytest.fail)
        assert tensor["maximum"] == "inf"


def runs(cell: str) -> bool:
    """Whether a spreadsheet would take a cell for a formula; a number is none."""
    try:
        float(cell)
    except ValueError:
        return cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    return False


@given(st.lists(st.lists(st.text(max_size=20) | st.sampled_from(ALL), min_size=3, max_size=3), min_size=1))
@settings(max_examples=100, deadline=None)
def test_every_table_comes_back_from_its_file(rows: list[list[str]]) -> None:
    header, *body = rows
    answer = bytes(tables.table("csv", "x", header, body).body).decode()
    read = list(csv.reader(io.StringIO(answer, newline=""), strict=True))
    assert len(read) == len(rows)
    for cells, given_ in zip(read, rows, strict=True):
        for cell, text in zip(cells, given_, strict=True):
            assert cell in (text, f"'{text}") and not runs(cell)
