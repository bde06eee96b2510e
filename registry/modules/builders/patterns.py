"""Regular expressions in the configuration of an adapter, tried in a process of their own before a library uses them.

A pattern of a stranger may take longer on one name than the universe has, and nothing stops it once it has begun; and
which patterns do, no rule tells without refusing honest ones. So each is run on the names that it is meant for, in
every way in which it is used, under a limit of the system.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from registry.errors.libraries import LibraryRefused

SECONDS = 5
"""Of a processor's time, for all patterns; honest ones take milliseconds."""
MOST_PATTERNS, LONGEST = 1000, 10_000
"""Patterns of one configuration, and characters of each."""
_SPECIAL = re.compile(r"[*+?{}\[\]()|^$\\]")
"""What a text has that is more than a name."""

_TRIAL = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1]) + 1))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
patterns, names = json.load(sys.stdin)
forms = "{}", r"(.*\\.)?({})$", r"(^|.*\\.){}($|\\..*)", r".*\\.{}$", r"(?:^|.*?\\.){}\\.(?P<idx>\\d+)\\."
for number, pattern in enumerate(patterns):
    print(number, flush=True)
    for form in forms:
        try:
            compiled = re.compile(form.replace("{}", pattern, 1))
        except (re.error, RecursionError, OverflowError):
            continue  # the library will say it
        for name in names:
            compiled.fullmatch(name), compiled.match(name), compiled.search(name)
print("done")
"""


def check_patterns(builder: str, config: Any, names: Iterable[str]) -> None:
    """Refuse a configuration with a pattern that takes too long on the names of modules.

    Raises:
        LibraryRefused
    """
    patterns = list(dict.fromkeys(_patterns(config)))
    if not patterns:
        return
    if len(patterns) > MOST_PATTERNS or max(map(len, patterns)) > LONGEST:
        raise LibraryRefused(
            builder, f"its configuration has more or longer patterns than {MOST_PATTERNS} of {LONGEST}"
        )
    tried = _tried(patterns, sorted(set(names)))
    if not tried or tried[-1] != "done":
        pattern = patterns[int(tried[-1])] if tried else patterns[0]
        raise LibraryRefused(
            builder, f"its pattern {pattern!r:.80} takes more than {SECONDS} s on the names of the base"
        )


def _tried(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Run all patterns in a process of their own, and return the numbers of those that it came to."""
    command = [sys.executable, "-I", "-S", "-c", _TRIAL, str(SECONDS)]
    done = subprocess.run(
        command, input=json.dumps([patterns, names]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return done.stdout.split()


def _patterns(value: Any) -> Iterator[str]:
    """Yield every text in a configuration that is more than a name, keys too."""
    if isinstance(value, str) and _SPECIAL.search(value):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _patterns(key)
            yield from _patterns(part)
    elif isinstance(value, list):
        for part in value:
            yield from _patterns(part)
