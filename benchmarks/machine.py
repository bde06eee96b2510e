"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def facts() -> dict[str, str]:
    """Return what a reader needs to compare the figures with their own; no name of a machine is among it."""
    return {
        "date": date.today().isoformat(),
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "safetensors": version("safetensors"),
    }


def described() -> str:
    """Return the facts as one line."""
    return ", ".join(f"{name} {value}" for name, value in facts().items())


def _line(path: str, key: str) -> str:
    if not Path(path).exists():
        return ""
    values = (line.partition(":")[2].strip() for line in Path(path).read_text().splitlines() if line.startswith(key))
    return next(values, "")
