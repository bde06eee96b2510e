"""Write ``docs/images/``: the main pages of a served registry, light and dark: ``python docs/screenshots.py``.

It makes a small registry of its own, serves it, and looks at it with the machine's Chromium.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright
from torch import nn

from registry import Registry
from registry.catalog.actor import acting_as

IMAGES = Path(__file__).parent / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTH, HEIGHT, TALL = 1120, 680, {"compare": 1120}

PAGES = {
    "models": "/",
    "versions": "/versions?q=acc%3E0.8+sort:-acc",
    "model": "/models/shapes/pointnet",
    "version": "/models/shapes/pointnet:v9",
    "tensors": "/models/shapes/pointnet:v9/tensors?describe=1&tensor=features.3.weight",
    "compare": "/compare?ref=shapes/pointnet:v8&ref=shapes/pointnet:v9&only=1&measure=1",
}
"""What is looked at, by the name of its picture."""

CARD = """Classifies point clouds of 1,024 points into 40 shapes.

| data | clouds | accuracy |
|---|---|---|
| validation | 2,468 | 0.93 |
| scans of rooms | 612 | 0.81 |

Trained under DDP on 4 GPUs; *expects centered clouds of unit size*.
"""


class PointNet(nn.Module):
    """Enough of a network to look at."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(4 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 40))


def fill(home: Path) -> None:
    """Push what several people could have trained."""
    torch.manual_seed(0)
    chance = random.Random(0)
    registry = Registry(home)
    model, parent = PointNet(), None
    for step in range(1, 13):
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                if step < 9 or number >= 12:  # then only the head is trained
                    parameter += torch.randn_like(parameter) * 0.02 * math.exp(-number / 6)
        acc = 0.94 - 0.4 * math.exp(-step / 3) + chance.uniform(-0.015, 0.015)
        entry = registry.push(
            {f"module.{name}": value for name, value in model.state_dict().items()},
            "shapes/pointnet",
            from_="ddp",
            metrics={"acc": round(acc, 4), "loss": round(2.2 * math.exp(-step / 4) + 0.2, 4)},
            tags={"task": "cls", "data": "modelnet40"},
            aliases={5: ["stable"], 9: ["best", "stable"]}.get(step, []),
            parent=parent,
            world_size=4,
            note="augmented with rotations" if step == 6 else "only the head" if step == 9 else "",
        )
        parent = entry.ref
    for name, width, number in (("shapes/parts", 48, 6), ("scans/segments", 32, 5), ("scans/rooms", 24, 3)):
        for step in range(1, number + 1):
            registry.push(
                PointNet(width).state_dict(),
                name,
                from_="single",
                metrics={"acc": round(0.6 + 0.3 * step / number + chance.uniform(-0.03, 0.03), 4), "loss": 1.1 / step},
                tags={"task": "seg" if "seg" in name or "parts" in name else "cls"},
                aliases=["best"] if step == number - 1 else [],
                parent="shapes/pointnet:v9" if step == 1 and name == "scans/rooms" else None,
            )
    registry.card("shapes/pointnet", CARD)
    registry.audit()
    registry.close()


def main() -> int:
    """Make the pictures anew."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "registry"
        with acting_as("ann@lab"), contextlib.chdir(folder):
            fill(home)
        command = [sys.executable, "-m", "registry", "ui", "--no-browser", "--home", str(home)]
        serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert serving.stdout is not None
        try:
            found = re.search(r"http://\S+:\d+", serving.stdout.readline())
            assert found is not None
            look(found[0])
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait()
    return 0


def look(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            for name, path in PAGES.items():
                size = {"width": WIDTH, "height": TALL.get(name, HEIGHT)}
                context = browser.new_context(viewport=size, color_scheme=scheme)
                page = context.new_page()
                page.goto(url + path)
                page.screenshot(path=IMAGES / f"{name}-{scheme}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
