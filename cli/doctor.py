"""``registry doctor``."""

from __future__ import annotations

from . import options
from .rendering import print_json, say


def doctor(home: options.Home = None, as_json: options.Json = False) -> None:
    """Check the file system, database and versions; suggest fixes.

    Example: registry doctor
    """
    findings = options.registry_at(home).doctor()
    if as_json:
        print_json(findings)
        return
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{finding.what.ljust(width)}  {finding.value}" + (f"  -> {finding.advice}" if finding.advice else ""))
