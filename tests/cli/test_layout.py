"""Tables fit the terminal: nothing breaks inside a word, and what nobody filled takes no room."""

from __future__ import annotations

import os
import re
from pathlib import Path

import invocation as terminal
import pytest
import torch
from deliberate import wrong
from hypothesis import given, strategies as st
from invocation import COMMAND, run

from registry import Registry
from registry.cli import layout

cells = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "M")), max_size=40)
tables = st.integers(1, 8).flatmap(
    lambda columns: st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=2, max_size=6)
)


@given(tables, st.integers(80, 200))
def test_what_is_cut_fits_and_what_fits_is_whole(rows: list[list[str]], most: int) -> None:
    columns = layout.widths(rows, most, spare=range(len(rows[0]) - 1))
    assert sum(columns.values()) + len(layout.GAP) * max(0, len(columns) - 1) <= most
    wanted = layout.widths(rows, None)
    if sum(wanted.values()) + len(layout.GAP) * max(0, len(wanted) - 1) <= most:
        assert columns == wanted
    for row in rows:
        for at, width in columns.items():
            text = layout.cut(row[at], width)
            assert layout.wide(text) <= width
            assert text == row[at] or (text.endswith("…") and row[at].startswith(text[:-1]))
            assert layout.wide(layout.padded(text, width, right=True)) == width


@given(tables)
def test_columns_that_nobody_filled_are_left_out(rows: list[list[str]]) -> None:
    filled = {at for row in rows[1:] for at, cell in enumerate(row) if cell}
    assert set(layout.widths(rows, None)) == filled


def test_an_east_asian_character_takes_two_columns_and_an_accent_none() -> None:
    assert layout.wide("点群") == 4 and layout.wide("e\u0301") == 1
    assert layout.cut("点群点群", 5) == "点群…"


@pytest.fixture
def stocked(home: Path) -> Path:
    """A home with two models, of which one version has everything."""
    hub, model = Registry(home), torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    metrics = {"val/accuracy/top1": 0.93125, "val/accuracy/top5": 0.991, "train/loss": 0.25}
    tags = {"task": "segmentation", "data": "shapenet-version-2"}
    hub.push(model, "pointnet", optimizer=optimizer, epoch=12, step=3400, example=torch.ones(1, 3), metrics=metrics,
             tags=tags, aliases=["best", "last", "candidate"])  # fmt: skip
    hub.push({"w": torch.ones(3)}, "other", from_="single")
    hub.close()
    return home


def on_a_terminal(*arguments: str, columns: int = 80, **environment: str) -> list[str]:
    """Return the lines that a command prints on a terminal of so many columns."""
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **environment}
    drawn = terminal.on_a_terminal([*COMMAND, *arguments], "stdout", "stderr", env=environment)
    return drawn.replace("\r\n", "\n").splitlines()


def bare(line: str) -> str:
    return re.sub("\x1b\\[[0-9]m", "", line)


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_no_row_is_longer_than_the_terminal(stocked: Path, columns: int) -> None:
    for arguments in (["list", "--versions"], ["log"], ["models"]):
        lines = [bare(line) for line in on_a_terminal(*arguments, columns=columns)]
        rows = [line for line in lines if not line.startswith("`")]
        assert all(len(line) <= columns for line in rows), rows
        assert any("pointnet" in line for line in rows)


def test_what_is_piped_is_whole_and_bare_of_styles(stocked: Path) -> None:
    said = run("list", "pointnet", home=stocked).stdout
    assert "val/accuracy/top1=0.93125 val/accuracy/top5=0.991" in said
    assert "data=shapenet-version-2 task=segmentation" in said
    assert "epoch 12, step 3400, example, training" in said
    assert "\x1b" not in said and "…" not in said


def test_heads_are_bold_and_digests_dim_unless_nobody_wants_colors(stocked: Path) -> None:
    head, row = on_a_terminal("list", "pointnet", columns=200)
    assert head.startswith("\x1b[1mversion") and re.search("\x1b\\[2m[0-9a-f]{12}\x1b\\[0m", row)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in "".join(on_a_terminal("list", "pointnet", **wrong(plain)))


def test_a_version_is_shown_with_what_is_kept_beside_its_weights(stocked: Path) -> None:
    said = run("show", "pointnet", home=stocked).stdout
    assert re.findall(r"^(?:epoch|step|attachments) +(.*)$", said, re.M) == [
        "12",
        "3400",
        "example, training (optimizer)",
    ]
    assert "beside" not in said
    assert re.search(r"^tags +data=shapenet-version-2 task=segmentation$", said, re.M)
    assert not re.search(r"^(attachments|epoch|step|tags)", run("show", "other", home=stocked).stdout, re.M)


def test_the_trail_of_a_version_with_tags_is_shown(stocked: Path) -> None:
    assert "task=segmentation" in run("log", "pointnet", home=stocked).stdout
