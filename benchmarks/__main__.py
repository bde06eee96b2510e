"""Run the benchmarks and print their table.

``python -m benchmarks [--quick] [--only FAMILY]... [--json FILE] [--plot FILE] [--markdown]``
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    buckets,
    clients,
    cold,
    databases,
    deduplication,
    gpu,
    growing,
    listing,
    loading,
    machine,
    memory,
    pages,
    parallel,
    peers,
    pushing,
    racing,
    searching,
    serving,
    sharding,
)
from benchmarks.plotting import drawing
from benchmarks.row import HEADINGS, Row, as_markdown
from benchmarks.workshop import FULL, QUICK, TOY, Workshop

FAMILIES: dict[str, Callable[[Workshop], Iterator[Row]]] = {
    "loading": loading.rows,
    "memory": memory.rows,
    "pushing": pushing.rows,
    "cold": cold.rows,
    "deduplication": deduplication.rows,
    "listing": listing.rows,
    "search": searching.rows,
    "pages": pages.rows,
    "racing": racing.rows,
    "clients": clients.rows,
    "databases": databases.rows,
    "parallel": parallel.rows,
    "sharding": sharding.rows,
    "serving": serving.rows,
    "growing": growing.rows,
    "peers": peers.rows,
    "buckets": buckets.rows,
    "gpu": gpu.rows,
}

OTHERS = ("pages", "racing", "clients", "databases", "peers", "buckets", "gpu")
"""Families that wait for other programs, or need a GPU: ``--quick`` leaves them out unless they are named."""


def main() -> int:
    """Run what was asked for; return 1 if a program failed, for a goal that is missed is a result."""
    arguments = _parser().parse_args()
    rows: list[Row] = []
    failures: list[str] = []
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="registry-benchmarks-", dir=arguments.folder) as folder:
        workshop = Workshop(Path(folder), arguments.scale)
        for name in _families(arguments):
            _say(f"{name} ...")
            try:
                for row in FAMILIES[name](workshop):
                    rows.append(row)
                    _say(" · ".join(cell for cell in row.cells if cell))
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
                _say(failures[-1])
    seconds = time.perf_counter() - begin
    if arguments.json:
        found = {"seconds": seconds, "machine": machine.facts(), "failures": failures}
        Path(arguments.json).write_text(json.dumps({**found, "rows": [row.as_json() for row in rows]}, indent=1))
    if arguments.plot:
        Path(arguments.plot).write_text(drawing(rows))
    if arguments.markdown:
        sys.stdout.write(f"{machine.described()}\n\n{as_markdown(rows)}\n")
    else:
        _print(rows)
    _say(f"{seconds:.0f} s")
    return 1 if failures else 0


def _families(arguments: argparse.Namespace) -> list[str]:
    if arguments.only or arguments.scale is not QUICK:
        return arguments.only or list(FAMILIES)
    _say(f"left out: {', '.join(OTHERS)}; --only FAMILY measures one")
    return [name for name in FAMILIES if name not in OTHERS]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against what people do by hand.")
    parser.set_defaults(scale=FULL)
    for flag, scale, text in (
        ("--quick", QUICK, "smaller models and fewer rounds, without other programs, in less than a minute"),
        ("--toy", TOY, "tiny models: only to see that the programs run"),
    ):
        parser.add_argument(flag, dest="scale", action="store_const", const=scale, help=text)
    parser.add_argument("--only", action="append", choices=FAMILIES, metavar="FAMILY", help="one of %(choices)s")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/performance.md")
    parser.add_argument("--plot", metavar="FILE", help="draw there, as SVG, how the figures of `growing` grow")
    parser.add_argument("--folder", help="work on this disk instead of the one of temporary files")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(rows: list[Row]) -> None:
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row.cells)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
