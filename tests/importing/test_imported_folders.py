"""A folder of old checkpoints is brought in by one call, and every line of its table is right."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import old_checkpoints as making
import pytest
import torch
from contents import is_empty
from invocation import run

from registry import Registry, errors
from registry.importing.report import ImportReport

EXPECTED = {
    ".hidden.pth": ("skipped", None),
    "cls_model.pth": ("new", "cls_model:v1"),
    "curve.png": ("no checkpoint", None),
    "data.json": ("no checkpoint", None),
    "det_model.pth": ("new", "det_model:v1"),
    "empty.pt": ("damaged", None),
    "latest.pth": ("skipped", None),
    "pointnet/averaged.pth": ("new", "pointnet:v8"),
    "pointnet/bare_7.safetensors": ("same weights", "pointnet:v3"),
    **{f"pointnet/ckpt_{number + 5}.pth": ("new", f"pointnet:v{number + 1}") for number in range(6)},
    "pointnet/compiled.pth": ("new", "pointnet:v7"),
    "pointnet/copy of ckpt_7.pth": ("same weights", "pointnet:v3"),
    "pointnet/fsdp2.pt": ("new", "pointnet:v10"),
    "pointnet/legacy.pth": ("new", "pointnet:v9"),
    "pointnet/notes.txt": ("no checkpoint", None),
    "pointnet/optimizer.pt": ("no weights", None),
    "pointnet/truncated.pth": ("damaged", None),
    "results.pt": ("no weights", None),
    "runs/dcp/step_10": ("new", "dcp:v1"),
    "runs/dcp/step_20": ("new", "dcp:v2"),
    "runs/light/epoch=3-step=300.ckpt": ("new", "light:v1"),
    "runs/light/last.ckpt": ("new", "light:v2"),
    "runs/tiny-llama": ("new", "tiny-llama:v1"),
    "runs/vit/timm_best.pth.tar": ("new", "timm_best:v1"),
    "runs/zero": ("new", "zero:v1"),
    "seg_model.pth": ("new", "seg_model:v1"),
    "seg_model_2.pth": ("new", "seg_model:v2"),
    "several.pth": ("refused", None),
    "train.py": ("no checkpoint", None),
    "zeros.ckpt": ("damaged", None),
}
METRICS = {
    "pointnet/ckpt_10.pth": {"epoch": 5.0, "best_acc": 0.85, "val_loss": 0.0},
    "runs/dcp/step_10": {"epoch": 3.0},
    "runs/light/last.ckpt": {"epoch": 4.0, "global_step": 400.0, "best_model_score": 0.875},
    "runs/vit/timm_best.pth.tar": {"epoch": 17.0, "metric": 81.25},
    "runs/tiny-llama": {},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return making.mixed(tmp_path_factory.mktemp("made") / "old")


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "old", symlinks=True))


def verdicts(report: ImportReport) -> dict[str, tuple[str, str | None]]:
    return {line.path: (line.verdict, line.ref) for line in report.lines}


def entries(hub: Registry) -> dict[str, str]:
    return {} if is_empty(hub) else {entry.ref: entry.digest for entry in hub.list()}


def test_every_line_of_a_mixed_folder_is_right(old: Path, hub: Registry) -> None:
    report = hub.import_folder(old)
    assert verdicts(report) == EXPECTED
    metrics = {line.path: dict(line.metrics) for line in report.lines}
    assert {path: metrics[path] for path in METRICS} == METRICS
    assert [line.path for line in report.failures] == [
        "empty.pt",
        "pointnet/truncated.pth",
        "several.pth",
        "zeros.ckpt",
    ]
    assert hub.audit().is_clean


def test_what_is_stored_are_the_weights_under_the_names_of_the_bare_model(old: Path, hub: Registry) -> None:
    hub.import_folder(old)
    for ref, wanted in {
        "pointnet:v6": making.weights(5),
        "pointnet:v8": making.weights(7),
        "dcp:v1": making.weights(20, width=6),
        "tiny-llama": making.weights(22, width=10),
        "zero": making.weights(23, width=12),
    }.items():
        stored = hub.state_dict(ref)
        stored = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
        assert stored.keys() == wanted.keys() and all(torch.equal(stored[name], wanted[name]) for name in wanted), ref


def test_a_dry_run_says_what_a_run_does_and_stores_nothing(old: Path, hub: Registry) -> None:
    foreseen = hub.import_folder(old, dry_run=True)
    assert entries(hub) == {}
    assert verdicts(foreseen) == verdicts(hub.import_folder(old)) == EXPECTED


def test_a_dry_run_foresees_what_joins_a_model_that_is_there(old: Path, hub: Registry, tmp_path: Path) -> None:
    hub.push(making.put(tmp_path / "pointnet.pth", making.under("module.", making.weights(5)), 0))
    hub.push(making.put(tmp_path / "other.pth", making.weights(77), 0), "pointnet")
    hub.rm("pointnet:v2")
    foreseen = verdicts(hub.import_folder(old, dry_run=True))
    assert foreseen["pointnet/ckpt_10.pth"] == ("same weights", "pointnet:v1")
    assert foreseen["pointnet/ckpt_5.pth"] == ("new", "pointnet:v3")
    assert foreseen == verdicts(hub.import_folder(old))


def test_a_second_import_finds_all_of_it_and_changes_no_version(old: Path, hub: Registry) -> None:
    hub.import_folder(old)
    before = entries(hub), {entry.ref: dict(entry.metrics) for entry in hub.list()}
    again = hub.import_folder(old)
    assert (entries(hub), {entry.ref: dict(entry.metrics) for entry in hub.list()}) == before
    for line in again.lines:
        verdict, ref = EXPECTED[line.path]
        assert line.ref == ref
        assert verdict != "new" or line.verdict == "already there", line.path


def test_a_twin_of_a_stored_file_is_no_event_each_time(hub: Registry, tmp_path: Path) -> None:
    making.put(tmp_path / "in" / "a" / "bare.pth", making.weights(1), 1)
    making.put(tmp_path / "in" / "a" / "wrapped.pth", making.under("module.", making.weights(1)), 2)
    assert [line.verdict for line in hub.import_folder(tmp_path / "in").lines] == ["new", "same weights"]
    for _ in range(2):
        assert [line.verdict for line in hub.import_folder(tmp_path / "in").lines] == ["already there", "same weights"]
    assert [event.verb for event in hub.log()] == ["push"]
    more = {"state_dict": making.weights(1), "val_acc": 0.5}
    making.put(tmp_path / "in" / "a" / "more.pth", more, 3)
    hub.import_folder(tmp_path / "in")
    assert hub.log()[0].details["metrics"] == {"val_acc": 0.5}
    assert len(hub.log()) == 2 and hub.audit().is_clean


def test_new_files_of_a_folder_join_their_models_whatever_these_are_called_now(old: Path, hub: Registry) -> None:
    hub.import_folder(old / "pointnet", name="cloud")
    making.put(old / "pointnet" / "ckpt_99.pth", making.weights(99), 99)
    added = {line.path: line for line in hub.import_folder(old / "pointnet").lines}["ckpt_99.pth"]
    assert (added.verdict, added.ref) == ("new", "cloud:v11")


def test_what_was_removed_is_not_brought_back(old: Path, hub: Registry) -> None:
    hub.import_folder(old)
    hub.rm("pointnet:v4")
    line = {line.path: line for line in hub.import_folder(old).lines}["pointnet/ckpt_8.pth"]
    assert (line.verdict, line.ref) == ("in the trash", "pointnet:v4")
    assert "registry restore pointnet:v4" in line.reason


def test_versions_have_the_date_of_their_file_and_are_pushed_now(old: Path, hub: Registry) -> None:
    begun = datetime.now(UTC)
    hub.import_folder(old)
    entry = hub.get("pointnet:v2")
    assert entry.saved_at == datetime.fromtimestamp(making.FIRST_DAY + making.DAY, UTC).isoformat()
    assert entry.created_at >= begun
    assert hub.get("tiny-llama").saved_at is not None


def test_a_push_of_a_file_keeps_its_date_too(hub: Registry, tmp_path: Path) -> None:
    file = making.put(tmp_path / "net.pth", making.weights(1), 3)
    assert hub.push(file).saved_at == "2020-09-16T12:26:40+00:00"
    assert hub.push(making.weights(2), "memory").saved_at is None


def test_found_metrics_can_be_searched(old: Path, hub: Registry) -> None:
    hub.import_folder(old)
    assert [entry.ref for entry in hub.list("best_acc>=0.84 sort:-best_acc")] == ["pointnet:v6", "pointnet:v5"]


def test_one_name_takes_all_of_a_folder_of_one_model(old: Path, hub: Registry) -> None:
    report = hub.import_folder(old / "pointnet", name="cloud")
    assert report.models == {"cloud": 10}


def test_one_name_for_two_models_is_refused_before_anything_is_stored(old: Path, hub: Registry) -> None:
    with pytest.raises(errors.MixedModels, match=r"cls_model.pth and det_model.pth.*\[7, 8\] and \[9, 8\]"):
        hub.import_folder(old, name="all")
    assert entries(hub) == {}


def test_one_name_that_is_another_model_is_refused(old: Path, hub: Registry) -> None:
    hub.push(making.weights(1, classes=100), "cloud")
    with pytest.raises(errors.OtherModel, match=r"cloud:v1 and ckpt_5.pth .*another --name"):
        hub.import_folder(old / "pointnet", name="cloud")
    assert len(entries(hub)) == 1


def test_a_name_that_is_another_model_is_not_proposed(old: Path, hub: Registry) -> None:
    hub.push(making.weights(1, classes=100), "pointnet")
    hub.push(making.weights(1, classes=100), "det_model")
    report = hub.import_folder(old)
    models = {line.path: line.name for line in report.lines}
    assert models["pointnet/ckpt_5.pth"] not in (None, "pointnet")
    assert models["det_model.pth"] not in (None, "det_model")
    assert len(hub.list("pointnet")) == len(hub.list("det_model")) == 1


def test_files_of_one_name_in_two_folders_are_told_apart(hub: Registry, tmp_path: Path) -> None:
    for place, classes in (("a", 3), ("b", 4), ("b/c", 5)):
        making.put(tmp_path / "in" / place / "best.pth", making.weights(1, classes=classes), 1)
    assert {line.path: line.name for line in hub.import_folder(tmp_path / "in").lines} == {
        "a/best.pth": "a-best",
        "b/best.pth": "b-best",
        "b/c/best.pth": "c-best",
    }


def test_a_trainers_folder_brings_its_checkpoints_too(hub: Registry, tmp_path: Path) -> None:
    out = tmp_path / "outputs"
    for step in (500, 1000):
        place = out / f"checkpoint-{step}"
        making.put(place / "model.safetensors", making.weights(step), step)
        making.put(place / "optimizer.pt", making.optimizer(1), step)
        making.put(place / "rng_state.pth", {"cpu": torch.zeros(50, dtype=torch.uint8)}, step)
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        making.date(place, step)
    making.put(out / "model.safetensors", making.weights(1000), 2000)
    assert verdicts(hub.import_folder(out)) == {
        ".": ("same weights", "outputs:v2"),
        "checkpoint-500": ("new", "outputs:v1"),
        "checkpoint-1000": ("new", "outputs:v2"),
    }
    assert hub.get("outputs:v2").metrics["global_step"] == 1000


def test_a_file_called_as_a_library_calls_it_hides_none_beside_it(hub: Registry, tmp_path: Path) -> None:
    making.put(tmp_path / "in" / "model.safetensors", making.weights(1), 1)
    making.put(tmp_path / "in" / "best.pth", making.weights(2), 2)
    making.put(tmp_path / "in" / "notes.txt", b"words", 3)
    cut = making.put(tmp_path / "in" / "cut.pth", making.weights(3), 3)
    cut.write_bytes(cut.read_bytes()[:500])
    assert verdicts(hub.import_folder(tmp_path / "in")) == {
        "best.pth": ("new", "in:v2"),
        "cut.pth": ("damaged", None),
        "model.safetensors": ("new", "in:v1"),
        "notes.txt": ("no checkpoint", None),
    }


def test_a_folder_with_a_missing_shard_is_one_damaged_line(hub: Registry, tmp_path: Path) -> None:
    place = making.shards(tmp_path / "in" / "llama", making.weights(1), 1)
    (place / "model-00002-of-00002.safetensors").unlink()
    [line] = hub.import_folder(tmp_path / "in").lines
    assert (line.path, line.verdict) == ("llama", "damaged")
    assert "model-00002-of-00002.safetensors" in line.reason


def test_folders_that_differ_in_a_shard_alone_are_two_versions(hub: Registry, tmp_path: Path) -> None:
    for number in (1, 2):
        making.shards(tmp_path / "in" / f"step-{number}", making.weights(number), number)
    assert [line.verdict for line in hub.import_folder(tmp_path / "in").lines] == ["new", "new"]
    assert [line.verdict for line in hub.import_folder(tmp_path / "in").lines] == ["already there"] * 2
    shutil.copy(
        tmp_path / "in/step-2/model-00002-of-00002.safetensors", tmp_path / "in/step-1/model-00002-of-00002.safetensors"
    )
    assert [line.verdict for line in hub.import_folder(tmp_path / "in").lines] == ["new", "already there"]


def test_a_link_in_the_cache_of_the_hub_keeps_repository_and_revision(hub: Registry, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    repository = cache / "models--acme--tiny-net"
    blob = making.put(repository / "blobs" / "0a1b2c", making.weights(1), 1)
    link = repository / "snapshots" / "f00dfeed" / "pytorch_model.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    [line] = hub.import_folder(cache).lines
    assert (line.ref, line.source_uri) == ("tiny-net:v1", "hf:acme/tiny-net@f00dfeed")
    assert hub.get("tiny-net").source_uri == "hf:acme/tiny-net@f00dfeed"
    shortcut = tmp_path / "shortcut.bin"
    shortcut.symlink_to(link)
    assert hub.push(shortcut).source_uri == "hf:acme/tiny-net@f00dfeed"
    assert hub.push(blob, "blob").source_uri is None
    # The links lead out of the snapshot, to where the cache keeps the bytes.
    assert [each.verdict for each in hub.import_folder(link.parent).lines] == ["already there"]


def test_no_link_leads_out_of_the_folder_and_none_in_a_circle(hub: Registry, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    making.put(inside / "net.pth", making.weights(1), 1)
    making.put(tmp_path / "out" / "model.safetensors", making.weights(2, classes=9), 1)
    (inside / "circle").symlink_to(inside)
    (inside / "outside").symlink_to(tmp_path / "out")
    (inside / "outside.safetensors").symlink_to(tmp_path / "out" / "model.safetensors")
    (inside / "gone.pth").symlink_to(tmp_path / "nowhere")
    (inside / "linked").mkdir()
    (inside / "linked" / "model.safetensors").symlink_to(tmp_path / "out" / "model.safetensors")
    report = hub.import_folder(inside)
    assert {line.path: line.verdict for line in report.lines if line.verdict != "skipped"} == {"net.pth": "new"}
    assert report.is_complete
    assert {line.path for line in report.lines} >= {"circle", "outside", "outside.safetensors", "gone.pth", "linked"}


def test_homes_inside_of_the_folder_are_not_looked_into(tmp_path: Path) -> None:
    making.put(tmp_path / "net.pth", making.weights(1), 1)
    Registry(tmp_path / "another").push(making.weights(2), "other")
    hub = Registry(tmp_path / "home")
    hub.push(making.weights(3), "mine")
    report = hub.import_folder(tmp_path)
    assert {line.path: line.verdict for line in report.lines} == {
        "another": "skipped",
        "home": "skipped",
        "net.pth": "new",
    }


def test_a_pipe_and_a_name_that_is_no_text_stop_nothing(hub: Registry, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    making.put(inside / "net.pth", making.weights(1), 1)
    os.mkfifo(inside / "pipe.pth")
    odd = os.fsdecode(os.fsencode(inside) + b"/\xff\xfe.pth")
    shutil.copy(inside / "net.pth", odd)
    said = run("import", inside, "--json", home=hub.address, expect=None)
    found = {line["verdict"] for line in json.loads(said.stdout)["lines"]}
    assert found == {"new", "same weights", "no checkpoint"}


def test_an_unpacked_archive_is_one_line(hub: Registry, tmp_path: Path) -> None:
    file = making.put(tmp_path / "net.pth", making.weights(1), 1)
    shutil.unpack_archive(file, tmp_path / "in", "zip")
    [line] = hub.import_folder(tmp_path / "in").lines
    assert (line.path, line.verdict, line.code) == ("net", "refused", "unpacked-checkpoint")


def test_objects_without_a_tensor_are_no_weights(hub: Registry, tmp_path: Path) -> None:
    import collections

    making.put(tmp_path / "in" / "arguments.bin", collections.UserDict(lr=0.1), 1)
    [line] = hub.import_folder(tmp_path / "in").lines
    assert line.verdict == "no weights"


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def test_nothing_of_a_file_is_run(hub: Registry, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    making.put(tmp_path / "in" / "net.pth", {"model": making.weights(1), "epoch": Trap(sprung), "acc": 0.5}, 1)
    making.put(tmp_path / "in" / "trap.pth", Trap(sprung), 1)
    report = hub.import_folder(tmp_path / "in")
    assert {line.path: line.verdict for line in report.lines} == {"net.pth": "new", "trap.pth": "no weights"}
    assert report.lines[0].metrics == {"acc": 0.5}
    assert not sprung.exists()


def test_one_progress_runs_over_the_bytes_of_all_files(old: Path, hub: Registry) -> None:
    seen: list[tuple[int, int]] = []
    report = hub.import_folder(old, progress=lambda done, total: seen.append((done, total)))
    total = sum(line.byte_count for line in report.lines)
    assert {total} == {each for _, each in seen}
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_the_table_and_the_document_say_the_same(old: Path, home: Path) -> None:
    table = run("import", old, "--dry-run", home=home, expect=1)
    document = json.loads(run("import", old, "--json", home=home, expect=1).stdout)
    assert document["totals"] == {
        "new": 21,
        "same weights": 2,
        "no checkpoint": 4,
        "no weights": 2,
        "damaged": 3,
        "refused": 1,
        "skipped": 2,
    }
    for line in document["lines"]:
        assert line["path"] in table.stdout
        assert line["ref"] is None or line["ref"] in table.stdout
        assert not line["reason"] or line["verdict"] not in ("damaged", "refused") or line["reason"] in table.stderr


def test_a_folder_without_failures_ends_well(home: Path, tmp_path: Path) -> None:
    making.put(tmp_path / "in" / "net.pth", making.weights(1), 1)
    making.put(tmp_path / "in" / "optimizer.pt", making.optimizer(1), 1)
    assert "stored: 1 version of 1 model: net (1)" in run("import", tmp_path / "in", home=home).stdout


@pytest.mark.parametrize("place", ["nowhere", "file.pth"])
def test_what_is_no_folder_is_one_sentence(place: str, home: Path, tmp_path: Path) -> None:
    making.put(tmp_path / "file.pth", making.weights(1), 1)
    said = run("import", tmp_path / place, home=home, expect=1)
    assert said.stderr.startswith("registry: ") and said.stderr.count("\n") == 1
