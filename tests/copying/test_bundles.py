"""Bundles: as docs/bundles.md specifies them, read by any tar, and refused where anything in one is not so."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from forging import Forgery, forged
from hypothesis import given, strategies as st
from samples import files, push, trained, weights

from registry import Registry, errors
from registry.catalog.trail import event_hash
from registry.copying.bundles.archive import END, head, layout


@pytest.fixture
def bundle(hub: Registry, tmp_path: Path) -> Path:
    """A bundle of three versions: one and its parent, and a job's."""
    push(hub, 1, tags={"task": "seg"}, aliases=["best"])
    push(hub, 2, parent="net:v1")
    trained(hub)
    hub.copy(["net", "trained"], tmp_path / "good.bundle")
    return tmp_path / "good.bundle"


@pytest.fixture
def there(tmp_path: Path) -> Registry:
    """A home with a version, which nothing shall change."""
    there = Registry(tmp_path / "there")
    push(there, 9, "own")
    there.close()
    return there


def body(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def test_any_tar_reads_it_and_any_safetensors_tool_its_files(bundle: Path) -> None:
    with tarfile.open(bundle, "r:") as archive:
        members = archive.getmembers()
        assert [member.name for member in members][:4] == [
            "bundle.json",
            *(f"versions/{number:06}.json" for number in (1, 2, 3)),
        ]
        blobs = [member for member in members if member.name.startswith("blobs/")]
        stored = safetensors.torch.load(body(archive, blobs[0]))
    assert all(torch.equal(tensor, stored[name]) for name, tensor in weights(1).items())
    assert {(member.mtime, member.uid, member.gid, member.uname, member.isreg()) for member in members} == {
        (0, 0, 0, "", True)
    }


def test_every_tensor_can_be_mapped_where_it_lies(bundle: Path) -> None:
    with tarfile.open(bundle, "r:") as archive:
        for member in archive.getmembers():
            if member.name.startswith("blobs/"):
                content = body(archive, member)
                start = 8 + int.from_bytes(content[:8], "little")
                assert (member.offset_data + start) % 64 == 0


def test_the_same_versions_make_the_same_bytes(hub: Registry, bundle: Path, tmp_path: Path) -> None:
    hub.copy(["net", "trained"], tmp_path / "again.bundle")
    assert (tmp_path / "again.bundle").read_bytes() == bundle.read_bytes()


def test_no_tensor_of_another_version_is_in_it(hub: Registry, tmp_path: Path) -> None:
    secret = torch.full((16,), 77, dtype=torch.uint8)
    hub.push({**weights(1), "secret": secret}, "private")
    push(hub, 1)
    hub.copy("net", tmp_path / "net.bundle")
    content = (tmp_path / "net.bundle").read_bytes()
    assert bytes([77] * 16) not in content
    assert b"secret" not in content
    assert b"private" not in content


def test_what_versions_share_is_in_it_once(hub: Registry, bundle: Path) -> None:
    backbone = weights(1)["backbone.weight"].numpy().tobytes()
    assert bundle.read_bytes().count(backbone) == 1


def test_what_there_is_already_is_not_overwritten(hub: Registry, bundle: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(errors.CannotExport, match="exists already"):
        hub.copy("net", bundle)
    assert bundle.read_bytes() == before


def test_a_bundle_goes_into_another_one(bundle: Path, hub: Registry, tmp_path: Path) -> None:
    elsewhere = Registry(tmp_path / "elsewhere")
    elsewhere.copy(bundle, tmp_path / "again.bundle")
    assert not elsewhere.home.exists()
    elsewhere.copy(tmp_path / "again.bundle")
    assert {e.identity for e in elsewhere.list()} == {e.identity for e in hub.list()}
    assert elsewhere.audit().is_clean


NAMES = st.text(st.sampled_from("abcdef"), min_size=1, max_size=6)


@given(st.lists(st.tuples(NAMES, st.integers(0, 2000)), max_size=8, unique_by=lambda member: member[0]))
def test_the_layout_is_the_one_of_a_tar_file(sizes: list[tuple[str, int]]) -> None:
    members = layout(sizes)
    parts = b"".join(m.head + b"x" * m.size + bytes(m.end - m.offset - m.size) for m in members) + END
    with tarfile.open(fileobj=io.BytesIO(parts), mode="r:") as archive:
        found = [(member.name, member.size, member.offset_data) for member in archive.getmembers()]
    assert found == [(member.name, member.size, member.offset) for member in members]


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 8**11 + 1, 1 << 45])
def test_a_size_that_no_octal_field_holds_is_read_by_any_tar(size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(head("blobs/x", size) + END), mode="r:") as archive:
        assert [member.size for member in [archive.next()] if member] == [size]


# Lies

NOTHING: dict[str, Any] = {"blobs": [], "tensors": [], "ties": [], "values": {}, "metadata": None}


def _version(at: int, /, **parts: Any) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.versions[at].update(parts)


def _fact(**facts: Any) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.versions[0]["facts"].update(facts)


def _tensor(at: int, value: Any) -> Callable[[Forgery], object]:
    def lie(forgery: Forgery) -> None:
        forgery.versions[0]["manifest"]["tensors"][0][at] = value

    return lie


def _text(text: bytes) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.texts.update({0: text})


def _event(**parts: Any) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.versions[0]["events"][0].update(parts)


def _told(**parts: Any) -> Callable[[Forgery], object]:
    """Tell of one event, whose hash is right."""

    def lie(forgery: Forgery) -> None:
        event = {**forgery.versions[0]["events"][0], **parts}
        forgery.versions[0]["events"] = [{**event, "hash": event_hash(event)}]

    return lie


def _document(body: bytes) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.versions[2]["documents"].update(training=base64.b64encode(body).decode())


def _data(forgery: Forgery) -> None:
    digest, body = next(iter(forgery.blobs.items()))
    forgery.blobs[digest] = body[:-1] + bytes([body[-1] ^ 1])


def _stowaway(forgery: Forgery) -> None:
    body = b"hidden".ljust(64)
    forgery.blobs["ab" * 32] = body


def _more_data(forgery: Forgery) -> None:
    digest, body = next(iter(forgery.blobs.items()))
    forgery.blobs[digest] = body + bytes(64)


def _huge_header(forgery: Forgery) -> None:
    digest, body = next(iter(forgery.blobs.items()))
    forgery.blobs[digest] = b"\xff" * 8 + body[8:]


def _cycle(forgery: Forgery) -> None:
    forgery.versions[0]["parent"] = forgery.versions[1]["identity"]


def _own_parent(forgery: Forgery) -> None:
    forgery.versions[0]["parent"] = forgery.versions[0]["identity"]


def _index(**parts: Any) -> Callable[[Forgery], object]:
    return lambda forgery: forgery.index.update(parts)


LIES: dict[str, Callable[[Forgery], object]] = {
    "a flipped bit": _data,
    "a file that nobody needs": _stowaway,
    "bytes behind the tensors": _more_data,
    "a header longer than its file": _huge_header,
    "a version before its parent": _cycle,
    "a version that is its own parent": _own_parent,
    "a version twice": lambda forgery: forgery.versions.append(forgery.versions[0]),
    "a file that is not there": lambda forgery: forgery.blobs.popitem(),
    "no index of ours": _index(format="something"),
    "more in the index": _index(more=1),
    "a name that is a path": _version(0, name="../../etc/passwd"),
    "a name with control characters": _version(0, name="net\x1b[31m"),
    "a number below all": _version(0, number=0),
    "a number that leaves no room": _version(0, number=10**17),
    "a number that is none": _version(0, number=True),
    "a uid that is none": _version(0, uid="x" * 32),
    "an identity that is none": _version(0, identity=["a", 1]),
    "another record": _version(0, identity=["0" * 32, 1, "0" * 64]),
    "other weights": _version(0, weights="0" * 64),
    "a time that is none": _version(0, created_at="yesterday"),
    "an alias that is a version": _version(0, aliases=["v3"]),
    "an alias that is no text": _version(0, aliases=[3]),
    "a metric that is a text": _version(0, metrics={"acc": "high"}),
    "a metric's key that is none": _version(0, metrics={"a b": 1.0}),
    "a tag that is no text": _version(0, tags={"task": ["seg"]}),
    "a card that is no text": _version(0, card={"a": 1}),
    "events that are none": _version(0, events=[{"hash": "x"}]),
    "events that are no list": _version(0, events={"a": 1}),
    "an event that was edited": _event(actor="somebody@else"),
    "an event with another chain": _event(previous="0" * 64),
    "an event whose time is none": _event(at="yesterday"),
    "an event before the calendar begins": _told(at="0001-01-01T00:00:00+14:00"),
    "an event after the calendar ends": _told(at="9999-12-31T23:59:59-14:00"),
    "a card that is too long": _version(0, card="x" * ((1 << 20) + 1)),
    "a card that no terminal shows": _version(0, card="a\0b"),
    "another class": _fact(model_class="os:system"),
    "other arguments": _fact(init='{"path": "/etc/passwd"}'),
    "arguments that are no JSON": _fact(init="{"),
    "another unwrapping": _fact(unwrapping="[]"),
    "more tensors than there are": _fact(tensor_count=10**6),
    "more bytes than there are": _fact(byte_count=1 << 60),
    "a fact of another type": _fact(note=7),
    "a fact that is too large": _fact(world_size=1 << 80),
    "a note that is too long": _fact(note="x" * 20_000),
    "a fact with half a character": _fact(note="\ud800"),
    "a fact that is missing": lambda forgery: forgery.versions[0]["facts"].pop("wrapper"),
    "a part that is missing": lambda forgery: forgery.versions[0].pop("tags"),
    "a tensor of no dtype": _tensor(1, "object"),
    "a tensor of another dtype": _tensor(1, "int32"),
    "a tensor of endless shape": _tensor(2, [1 << 61, 1 << 61]),
    "a tensor of negative shape": _tensor(2, [-8, -8]),
    "a tensor with no digest": _tensor(3, "../x"),
    "a tensor with another digest": _tensor(3, "0" * 64),
    "a tensor in no file": _tensor(4, 7),
    "a tensor counted from the end": _tensor(4, -1),
    "a tensor elsewhere in its file": _tensor(5, 8),
    "a tensor beyond its file": _tensor(5, 1 << 40),
    "a tensor of two names": _tensor(0, "head.weight"),
    "a tie of nothing": lambda forgery: forgery.versions[0]["manifest"].update(ties=[["a", "b"]]),
    "a file twice in a manifest": lambda forgery: forgery.versions[0]["manifest"]["blobs"].append(
        forgery.versions[0]["manifest"]["blobs"][0]
    ),
    "a file that a manifest does not need": lambda forgery: forgery.versions[0]["manifest"]["blobs"].append("0" * 64),
    "a document of a kind that is none": _version(2, documents={"manifest": ""}),
    "a document in no base": _version(2, documents={"training": "?"}),
    "a document that unfolds to gigabytes": _document(zlib.compress(bytes(1 << 28), 9)),
    "a document that is no manifest": _document(zlib.compress(b"[]")),
    "a document with something behind it": _document(zlib.compress(b"{}") + b"more"),
    "a place that is missing": _version(2, places=NOTHING),
    "deep lists": _text(b"[" * 100_000 + b"]" * 100_000),
    "deep objects": _text(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a text without end": _text(b'"' + b'\\"' * 100_000),
    "many small values": _text(b"[" + b"{}," * 5_000_000 + b"{}]"),
    "a number of a million digits": _text(b'{"name":' + b"1" * 1_000_000 + b"}"),
    "a number that is none at all": _text(b'{"name":NaN}'),
    "a key twice": _text(b'{"name":1,"name":2}'),
    "bytes that are no text": _text(b'{"name":"\xff\xfe"}'),
    "nothing": _text(b" "),
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_a_bundle_that_lies_is_refused_in_a_sentence_and_changes_nothing(
    bundle: Path, there: Registry, what: str
) -> None:
    path = forged(bundle, LIES[what])
    before = files(there.home)
    began = time.monotonic()
    with pytest.raises((errors.DamagedBundle, errors.NewerBundle), match=r"forged\.bundle"):
        there.copy(path)
    assert time.monotonic() - began < 20
    there.close()
    assert files(there.home) == before


def test_a_forgery_without_a_lie_is_taken(bundle: Path, there: Registry) -> None:
    assert len(there.copy(forged(bundle, lambda forgery: None)).of("copied")) == 3
    assert there.audit().is_clean


def _archive(bundle: Path, change: Callable[[tarfile.TarInfo], object], data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(bundle, "r:") as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member))
        extra = tarfile.TarInfo("versions/000009.json")
        change(extra)
        extra.size = len(data)
        new.addfile(extra, io.BytesIO(data))
    return out.getvalue()


def _of_type(kind: bytes, link: str = "") -> Callable[[tarfile.TarInfo], object]:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = kind, link

    return change


ARCHIVES: dict[str, Callable[[Path], bytes]] = {
    "cut short": lambda bundle: bundle.read_bytes()[:-1],
    "cut in the middle": lambda bundle: bundle.read_bytes()[: bundle.stat().st_size // 2],
    "cut in its index": lambda bundle: bundle.read_bytes()[:600],
    "cut in its first header": lambda bundle: bundle.read_bytes()[:100],
    "empty": lambda bundle: b"",
    "something behind its end": lambda bundle: bundle.read_bytes() + b"x",
    "zeros behind its end": lambda bundle: bundle.read_bytes() + bytes(512),
    "a filling that is none": lambda bundle: bundle.read_bytes()[:-1025] + b"x" + END,
    "an end that is none": lambda bundle: bundle.read_bytes()[:-1] + b"x",
    "compressed": lambda bundle: zlib.compress(bundle.read_bytes()),
    "something else": lambda bundle: b"{}" * 1000,
    "a symbolic link": lambda bundle: _archive(bundle, _of_type(tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": lambda bundle: _archive(bundle, _of_type(tarfile.LNKTYPE, "bundle.json")),
    "a device": lambda bundle: _archive(bundle, _of_type(tarfile.CHRTYPE)),
    "a pipe": lambda bundle: _archive(bundle, _of_type(tarfile.FIFOTYPE)),
    "a folder": lambda bundle: _archive(bundle, _of_type(tarfile.DIRTYPE)),
    "a sparse file": lambda bundle: _archive(bundle, _of_type(tarfile.GNUTYPE_SPARSE)),
    "a path that leads out": lambda bundle: _archive(bundle, lambda m: setattr(m, "name", "../../evil"), b"x"),
    "a member twice": lambda bundle: _archive(bundle, lambda m: setattr(m, "name", "bundle.json"), b"{}"),
    "a long name": lambda bundle: _archive(bundle, lambda m: setattr(m, "name", "x" * 5000), b"x"),
    "another owner": lambda bundle: bundle.read_bytes().replace(
        b"0000000\x000000000\x00", b"0000000\x000001750\x00", 1
    ),
    "a size beyond all": lambda bundle: bundle.read_bytes()[:124] + b"77777777777" + bundle.read_bytes()[135:],
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_is_not_as_specified_is_refused(bundle: Path, there: Registry, what: str) -> None:
    path = bundle.with_name("forged.bundle")
    path.write_bytes(ARCHIVES[what](bundle))
    before = files(there.home)
    with pytest.raises(errors.DamagedBundle):
        there.copy(path)
    there.close()
    assert files(there.home) == before


def test_a_bundle_of_a_later_form_asks_for_a_newer_program(bundle: Path, there: Registry) -> None:
    for lie in (
        lambda forgery: forgery.index.update(version=2, more=1),
        lambda forgery: forgery.versions[0].update(more=1),
        lambda forgery: forgery.versions[0]["facts"].update(more=1),
        lambda forgery: forgery.versions[0]["documents"].update(more=""),
    ):
        with pytest.raises(errors.NewerBundle, match="pip install -U"):
            there.copy(forged(bundle, lie))


def test_a_pipe_is_not_waited_for(tmp_path: Path, there: Registry) -> None:
    os.mkfifo(tmp_path / "pipe.bundle")
    with pytest.raises(errors.NoSuchBundle, match="regular file"):
        there.copy(tmp_path / "pipe.bundle")


def test_the_documents_are_json_of_the_words_that_are_specified(bundle: Path) -> None:
    forgery = Forgery.of(bundle)
    page = (Path(__file__).parents[2] / "docs" / "bundles.md").read_text()
    words = {*forgery.index, *forgery.versions[0], *forgery.versions[0]["manifest"], *forgery.versions[0]["events"][0]}
    assert {word for word in words if f"`{word}`" not in page} == set()
    assert json.loads(json.dumps(forgery.versions)) == forgery.versions


def test_a_bundle_says_no_fact_that_is_null_which_an_earlier_program_may_not_know(bundle: Path) -> None:
    facts = [version["facts"] for version in Forgery.of(bundle).versions]
    assert all(value is not None for each in facts for value in each.values())
    assert all("parts" not in each for each in facts)
