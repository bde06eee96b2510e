"""Pages of a served registry in a browser: how long until the first content is painted, as the browser itself says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.row import Row, at_most
from benchmarks.serving import serving

_BUDGET = 1000.0
"""Milliseconds."""

_CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

_PAINTED = """() => new Promise((told) => new PerformanceObserver((seen) => {
  for (const each of seen.getEntriesByName("first-contentful-paint")) told(each.startTime);
}).observe({ type: "paint", buffered: true }))"""


def rows(home: Path, pages: Mapping[str, str], stored: str, rounds: int) -> Iterator[Row]:
    """Look at each page as somebody does who comes for the first time: nothing of it is kept from before."""
    if not _CHROMIUM.exists():
        yield _skipped(f"there is no {_CHROMIUM}")
        return
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        yield _skipped("playwright is not installed")
        return
    with serving(home) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(_CHROMIUM), args=list(_FLAGS))

        def painted(path: str) -> float:
            with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
                page = context.new_page()
                page.goto(server.url + path)
                return float(page.evaluate(_PAINTED))

        for what, path in pages.items():
            painted(path)
            figures = tuple(painted(path) for _ in range(rounds))
            yield Row(
                "pages", f"first paint of {what}, {stored}", "a budget", at_most(1), "ms", figures,
                (_BUDGET,) * rounds,
            )  # fmt: skip
        browser.close()


def _skipped(why: str) -> Row:
    return Row("pages", "first paint of every page", "a budget", at_most(1), "ms", skipped=why)
