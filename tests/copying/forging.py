"""Bundles taken apart and put together again, with every digest right but for the lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from registry.copying.bundles.archive import BLOCK, END, INDEX, blob_name, layout, padded, version_name


@dataclass
class Forgery:
    """The parts of a bundle."""

    index: dict[str, Any]
    versions: list[Any]
    blobs: dict[str, bytes]
    texts: dict[int, bytes] = field(default_factory=dict)
    """Versions' documents that are no JSON of ours, by their places."""

    @classmethod
    def of(cls, path: Path) -> Forgery:
        content = path.read_bytes()
        size = int(content[124:135], 8)
        index = json.loads(content[BLOCK : BLOCK + size])
        sizes = [(INDEX, size)]
        sizes += [(version_name(number), each["size"]) for number, each in enumerate(index["versions"], 1)]
        sizes += [(blob_name(each["digest"]), each["size"]) for each in index["blobs"]]
        bodies = [content[member.offset : member.offset + member.size] for member in layout(sizes)]
        count = len(index["versions"])
        names = [each["digest"] for each in index["blobs"]]
        blobs = dict(zip(names, bodies[1 + count :], strict=True))
        return cls(index, [json.loads(body) for body in bodies[1 : 1 + count]], blobs)

    def bytes(self) -> bytes:
        """Return it as a file, whose index says what is in it."""
        texts = [self.texts.get(number, json.dumps(each).encode()) for number, each in enumerate(self.versions)]
        index = {
            **self.index,
            "versions": [{"ref": "x", "size": len(text), "blake3": blake3(text).hexdigest()} for text in texts],
            "blobs": [{"digest": digest, "size": len(body)} for digest, body in self.blobs.items()],
        }
        head = json.dumps(index).encode()
        sizes = [(INDEX, len(head))]
        sizes += [(version_name(number), len(text)) for number, text in enumerate(texts, 1)]
        sizes += [(blob_name(digest), len(body)) for digest, body in self.blobs.items()]
        parts = []
        for member, body in zip(layout(sizes), (head, *texts, *self.blobs.values()), strict=True):
            parts += [member.head, body.ljust(padded(len(body)), b"\0")]
        return b"".join((*parts, END))


def forged(path: Path, lie: Callable[[Forgery], object]) -> Path:
    """Write a bundle with a lie in it beside a sound one."""
    parts = Forgery.of(path)
    lie(parts)
    target = path.with_name("forged.bundle")
    target.write_bytes(parts.bytes())
    return target
