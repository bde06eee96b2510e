"""A registry that is served, and a browser that looks at it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
sys.path.insert(0, str(Path(__file__).parents[2]))

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from served import Served, serving

_CHROMIUM = "/usr/bin/chromium"
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

CARD = """# Segments

Trained on **two** datasets.

| data | clouds |
| ---- | ------ |
| one  | 12     |

<script>document.title = "taken"</script>
<img src=x onerror="document.title = 'taken'">
[here](javascript:document.title='taken')
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(_CHROMIUM).exists():
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        yield found
        found.close()


@dataclass
class Looked:
    """What a browser met while a test looked at pages."""

    errors: list[str]
    foreign: list[str]


Open = Callable[..., Page]


@pytest.fixture
def look(browser: Browser, served: Served) -> Iterator[Open]:
    """Open a page in a browser of its own; whatever is logged as an error, or asked of another host, fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    foreign: list[str] = []

    def open_page(path: str, *, of: Served | None = None, refused: bool = False, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        url = (of or served).url
        if not refused:
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(url) else foreign.append(asked.url))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [each for each in foreign if not each.startswith("data:")] == []


def equal(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(bool((found[name] == expected[name]).all()) for name in expected)


def log_in(page: Page, token: str) -> None:
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill(token)
    page.locator("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def rows(page: Page) -> list[str]:
    """The references in a table of versions."""
    return page.locator("tbody td.name a").all_inner_texts()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with models trained step by step under DDP, fine-tuned of that, of several parts, and of a folder."""
    import torch
    from torch import nn

    from registry import Registry

    folder = tmp_path_factory.mktemp("web") / "home"
    registry = Registry(folder)
    torch.manual_seed(0)
    weights = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).state_dict()
    parent = None
    for step in range(1, 8):
        weights["0.weight"] = weights["0.weight"] + 0.1
        entry = registry.push(
            {f"module.{name}": value for name, value in weights.items()},
            "team/pointnet",
            from_="ddp",
            metrics={"acc": 0.5 + step / 20, "loss": 1 / step},
            tags={"task": "seg" if step % 2 else "cls"},
            aliases=["best"] if step in (3, 7) else [],
            parent=parent,
            world_size=4,
            note=f"after epoch {step}",
        )
        parent = entry.ref
    registry.push(
        {**weights, "1.weight": weights["1.weight"] * 2}, "downstream", parent="team/pointnet:v7", metrics={"acc": 0.99}
    )
    registry.push(
        {"w": torch.ones(2)},
        "hostile",
        note="<b>bold</b><script>document.title='taken'</script>",
        tags={"k": "<i>x</i>"},
    )
    parts = {"point": nn.Linear(3, 4), "img": nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Linear(2, 4))}
    registry.push(parts, "both")
    registry.push(kept_folder(folder.parent / "bert"), "kept", tags={"task": "words"})
    registry.card("team/pointnet", CARD)
    registry.audit()
    return folder


def kept_folder(place: Path) -> Path:
    """Make a folder as a library writes it: weights of two layers, a configuration and a tokenizer."""
    import torch
    from safetensors.torch import save_file

    place.mkdir()
    layers = {f"encoder.layer.{n}.dense.{what}": torch.rand(2, 2) for n in range(30) for what in ("weight", "bias")}
    save_file({"embeddings.weight": torch.rand(3, 2), **layers}, place / "model.safetensors")
    (place / "config.json").write_text('{"width": 3}')
    (place / "vocab.txt").write_text("a\nb\n")
    return place


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    with serving(home) as running:
        yield running


@pytest.fixture(scope="module")
def token(home: Path) -> str:
    """A token that may do everything."""
    import subprocess

    from served import COMMAND

    command = [*COMMAND, "token", "add", "ann", "--role", "admin", "--home", str(home)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"crt_[A-Za-z0-9_-]+", said)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served home of 100,000 versions."""
    from benchmarks.searching import fill

    folder = tmp_path_factory.mktemp("crowd") / "home"
    fill(folder, 100_000)
    with serving(folder) as running:
        yield running
