"""Values written damaged, under digests that are right: an audit reads them all, so no load has to find out."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from registry import Registry
from registry.catalog.facts import canonical_json
from registry.catalog.record import record_digest, seal
from registry.tensors.arguments import Arguments
from registry.tensors.manifest import Manifest
from registry.tensors.wrapper_value import WrapperValue


class Stateful(nn.Linear):
    """Has an extra state that JSON alone could not hold."""

    def get_extra_state(self) -> Any:
        return {"range": (1, 2)}

    def set_extra_state(self, state: Any) -> None: ...


@pytest.fixture
def hub(tmp_path: Path) -> Registry:
    hub = Registry(tmp_path / "home")
    net = AveragedModel(Stateful(3, 2))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    init = {"in_features": 3, "out_features": 2, "dtype": torch.float32}
    hub.push(net, "net", optimizer=optimizer, init=init, example=torch.ones(1, 3))
    assert hub.audit().is_clean
    return hub


def rewrite(hub: Registry, kind: str, change: Callable[[Any], Any]) -> None:
    """Write something of the version anew, with all of its digests, as a program with a mistake would have."""
    entry = hub.get("net")
    init = entry.init
    assert isinstance(init, Arguments)
    manifest, documents = hub.catalog.manifest_and_documents(entry)
    if kind == "init":
        init = Arguments(change(dict(init.raw)))
        entry = replace(entry, init=init)
    elif kind == "unwrapping":
        entry = replace(entry, unwrapping=change(entry.unwrapping))
    elif kind == "manifest":
        manifest = change(manifest)
    else:
        documents[kind] = change(Manifest.decode(documents[kind])).encode()
    record = record_digest(entry, manifest, documents)
    texts = canonical_json(init.raw), canonical_json(entry.unwrapping.to_json())
    row = (*texts, record, seal(entry.name, entry.version, record))
    bodies = {**documents, "manifest": manifest.encode()}
    hub.catalog.close()
    with closing(sqlite3.connect(hub.home / "registry.db")) as connection, connection:
        connection.execute("UPDATE versions SET init = ?, unwrapping = ?, record = ?, seal = ?", row)
        connection.executemany("UPDATE documents SET body = ? WHERE kind = ?", [(b, k) for k, b in bodies.items()])


def training(values: dict[str, Any]) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(manifest, values={**manifest.values, "scheduler": values})


def owned(manifest: Manifest) -> Manifest:
    wrappers = [WrapperValue(own.owner, {"$": "tensor", "dtype": "int64", "shape": [9], "v": ""}) for own in
                manifest.wrappers]  # fmt: skip
    return replace(manifest, wrappers=tuple(wrappers))


DAMAGES: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "an argument": ("init", lambda raw: {"$": "arguments", "v": {"a": {"$": "dtype", "v": "float33"}}}, "'a'"),
    "a module as an argument": ("init", lambda raw: {"$": "arguments", "v": {"a": {"$": "antigravity"}}}, "'a'"),
    "an extra state": (
        "manifest", lambda m: replace(m, values={"_extra_state": {"$": "complex", "v": ["x"]}}), "'_extra_state'",
    ),
    "a wrapper's value": ("manifest", owned, "'n_averaged'"),
    "what the first schema set aside": (
        "unwrapping", lambda u: replace(u, own={"n_averaged": {"$": "complex", "v": ["x"]}}), "aside as 'n_averaged'",
    ),
    "metadata": ("manifest", lambda m: replace(m, metadata={"": {"$": "set"}}), "metadata"),
    "a training state": ("training", training({"a": {"$": "float"}}), "'scheduler'"),
    "a tensor of a training state": ("training", training({"a": {"$": "place", "v": "gone"}}), "'scheduler'"),
    "an example": ("example", lambda m: replace(m, values={"x": {"$": "tuple", "v": 3}}), "'x'"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "named"), DAMAGES.values(), ids=DAMAGES.keys())
def test_an_audit_reads_every_value(hub: Registry, kind: str, change: Any, named: str) -> None:
    rewrite(hub, kind, change)
    report = hub.audit()
    assert [fault.ref for fault in report.faults if fault.kind == "value" and named in fault.what] == ["net:v1"]
    assert not [fault for fault in report.faults if fault.kind == "row" and "edited" in fault.what]
    assert "antigravity" not in sys.modules
