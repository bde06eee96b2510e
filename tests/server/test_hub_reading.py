"""The clients of Hugging Face, unmodified, reading a home that was pushed to as ever."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hub_clients import Answered, Served, cache as cache, serving
from nets import PointNet, Tied

import registry

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> registry.Registry:
    """A home with what is read: versions that share tensors, a folder of transformers, one of timm, ties."""
    import tiny_models as tiny
    from transformers import BertTokenizerFast

    hub = registry.Registry(tmp_path_factory.mktemp("served") / "home")
    torch.manual_seed(0)
    net = PointNet(num_classes=5, width=8)
    hub.push(net, "team/pointnet", aliases=["first"], note="the first")
    with torch.no_grad():
        net.head.weight += 1
    hub.push(net, "team/pointnet", aliases=["best"], tags={"task": "cls"})
    hub.card("team/pointnet", "# PointNet\n\nOver points.\n")
    hub.push(Tied(), "tied")
    model, _ = tiny.encoder()
    folder = tmp_path_factory.mktemp("bert")
    model.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    hub.push(folder, "team/bert")
    vision, _ = tiny.convolutional()
    hub.push(vision, "team/resnet")
    return hub


@pytest.fixture(scope="module")
def served(hub: registry.Registry, cache: Path) -> Iterator[Served]:
    with serving(hub.home, cache) as served:
        yield served


def resolve(served: Served, rest: str, method: str = "GET", **headers: str) -> Answered:
    return served.ask(f"/team/pointnet/resolve/{rest}", method, **headers)


def equal(path: str, expected: dict[str, torch.Tensor]) -> bool:
    found = safetensors.torch.load_file(path)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_files_are_downloaded_with_the_weights_that_were_pushed(served: Served, hub: registry.Registry) -> None:
    out = served.client(
        """
        from huggingface_hub import hf_hub_download
        for revision in ("main", "v1", "v2", "first", "best"):
            out[revision] = hf_hub_download("team/pointnet", "model.safetensors", revision=revision)
        out["bare"] = hf_hub_download("tied", "model.safetensors")
        """
    )
    for revision, number in (("main", 2), ("v1", 1), ("v2", 2), ("first", 1), ("best", 2)):
        assert equal(out[revision], hub.state_dict(f"team/pointnet:v{number}"))
    assert equal(out["bare"], hub.state_dict("tied"))


def test_a_snapshot_has_every_file(served: Served, hub: registry.Registry) -> None:
    out = served.client(
        """
        import pathlib
        from huggingface_hub import snapshot_download
        out["bert"] = snapshot_download("team/bert")
        out["net"] = snapshot_download("team/pointnet", revision="v1")
        """
    )
    bert = Path(out["bert"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        each.name for each in bert.iterdir()
    }
    found, expected = safetensors.torch.load_file(bert / "model.safetensors"), hub.state_dict("team/bert")
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())
    tied = {name for group in hub._home.manifest(hub.get("team/bert")).ties for name in group}
    assert expected.keys() - found.keys() < tied, "of a tie there is one name, as the library writes it"
    net = Path(out["net"])
    assert (net / "README.md").read_text().startswith("# PointNet")
    assert equal(str(net / "model.safetensors"), hub.state_dict("team/pointnet:v1"))


def test_the_command_line_of_the_hub_downloads(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    done = served.command("hf", "download", "team/pointnet", "--revision", "v1", "--local-dir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert equal(str(tmp_path / "out/model.safetensors"), hub.state_dict("team/pointnet:v1"))


def test_transformers_loads_model_and_tokenizer(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    out = served.client(
        """
        import os, torch
        path = os.environ["OUT"]
        from transformers import AutoModelForMaskedLM, AutoTokenizer
        model = AutoModelForMaskedLM.from_pretrained("team/bert")
        torch.save(model.state_dict(), path)
        out["ids"] = AutoTokenizer.from_pretrained("team/bert")("a bc")["input_ids"]
        out["class"] = type(model).__name__
        """,
        OUT=str(tmp_path / "out.pt"),
    )
    loaded = torch.load(tmp_path / "out.pt")
    assert out["class"] == "BertForMaskedLM" and out["ids"] == [2, 5, 6, 7, 3]
    expected = hub.state_dict("team/bert")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_timm_and_the_mixin_load(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    served.client(
        f"""
        import timm, torch
        from huggingface_hub import PyTorchModelHubMixin
        from nets import PointNet

        class Mixed(PointNet, PyTorchModelHubMixin):
            def __init__(self, num_classes: int = 3, width: int = 4) -> None:
                super().__init__(num_classes, width)

        torch.save({{
            "timm": timm.create_model("hf-hub:team/resnet", pretrained=True).state_dict(),
            "mixin": Mixed.from_pretrained("team/pointnet").state_dict(),
        }}, {str(out)!r})
        """
    )
    loaded = torch.load(out)
    for kind, name in (("timm", "team/resnet"), ("mixin", "team/pointnet")):
        expected = hub.state_dict(name)
        assert loaded[kind].keys() == expected.keys()
        assert all(torch.equal(loaded[kind][key], tensor) for key, tensor in expected.items())


def test_models_revisions_and_files_are_told(served: Served, hub: registry.Registry) -> None:
    out = served.client(
        """
        from huggingface_hub import HfApi, HfFileSystem
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
        api = HfApi()
        info = api.model_info("team/pointnet", files_metadata=True)
        out["info"] = [info.id, info.sha, sorted(each.rfilename for each in info.siblings), info.safetensors.total]
        out["models"] = sorted(each.id for each in api.list_models(author="team", limit=10))
        out["searched"] = [each.id for each in api.list_models(search="POINT", full=True)]
        refs = api.list_repo_refs("team/pointnet")
        out["refs"] = {each.name: each.target_commit for each in (*refs.branches, *refs.tags)}
        out["commits"] = [[each.commit_id, each.title] for each in api.list_repo_commits("team/pointnet")]
        out["tree"] = sorted(each.path for each in api.list_repo_tree("team/bert", recursive=True))
        out["files"] = sorted(api.list_repo_files("team/pointnet"))
        out["paths"] = [each.path for each in api.get_paths_info("team/bert", ["config.json", "nothing"])]
        out["exists"] = [api.repo_exists("team/pointnet"), api.repo_exists("team/none"),
            api.file_exists("team/pointnet", "model.safetensors"), api.file_exists("team/pointnet", "none"),
            api.revision_exists("team/pointnet", "v1"), api.revision_exists("team/pointnet", "v9")]
        metadata = api.get_safetensors_metadata("team/bert")
        out["parameters"] = metadata.parameter_count
        fs = HfFileSystem()
        out["ls"] = sorted(fs.ls("team/pointnet", detail=False))
        with fs.open("team/pointnet@v1/model.safetensors", "rb") as file:
            head = file.read(8)
            file.seek(-4, 2)
            out["ends"] = [head.hex(), file.read().hex()]
        for name, call, kind in (
            ("repository", lambda: api.model_info("team/none"), RepositoryNotFoundError),
            ("revision", lambda: api.model_info("team/pointnet", revision="none"), RevisionNotFoundError),
            ("file", lambda: api.hf_hub_download("team/pointnet", "none.bin"), EntryNotFoundError),
        ):
            try:
                call()
            except kind as error:
                out[name] = str(error)
        by_commit = api.model_info("team/pointnet", revision=out["commits"][-1][0])
        out["oldest"] = [by_commit.sha, sorted(each.rfilename for each in by_commit.siblings)]
        """
    )
    first, newest = hub.get("team/pointnet:v1"), hub.get("team/pointnet:v2")
    assert out["info"][0] == "team/pointnet" and len(out["info"][1]) == 40
    assert out["info"][2] == ["README.md", "config.json", "model.safetensors"] == out["files"]
    assert out["info"][3] == newest.parameter_count
    assert out["models"] == ["team/bert", "team/pointnet", "team/resnet"] and out["searched"] == ["team/pointnet"]
    assert out["refs"]["main"] == out["info"][1] == out["refs"]["v2"] == out["refs"]["best"]
    assert out["refs"]["v1"] == out["refs"]["first"] != out["refs"]["v2"]
    assert [title for _, title in out["commits"]] == ["Update README.md", "team/pointnet:v2", "the first"]
    assert out["oldest"] == [out["commits"][-1][0], ["config.json", "model.safetensors"]]
    assert out["paths"] == ["config.json"] and "tokenizer.json" in out["tree"]
    assert out["exists"] == [True, False, True, False, True, False]
    assert out["parameters"] == {"F32": hub.get("team/bert").parameter_count}
    assert out["ls"] == [f"team/pointnet/{name}" for name in out["files"]]
    last = hub.state_dict(first.ref)
    assert len(out["ends"][0]) == 16 and len(out["ends"][1]) == 8 and last
    assert all(out[each] for each in ("repository", "revision", "file"))


def test_a_file_is_known_by_its_sha256_as_soon_as_that_is_computed(served: Served, hub: registry.Registry) -> None:
    entry = hub.push(PointNet(width=11), "team/hashed")
    first = served.ask("/team/hashed/resolve/v1/model.safetensors", "HEAD")
    assert first.headers["etag"] in (f'"{entry.digest}-1"', first.headers.get("x-linked-etag"))
    for _ in range(200):
        head = served.ask("/team/hashed/resolve/v1/model.safetensors", "HEAD")
        if "x-linked-etag" in head.headers:
            break
        time.sleep(0.05)
    whole = served.ask("/team/hashed/resolve/v1/model.safetensors")
    sha256 = hashlib.sha256(whole.body).hexdigest()
    assert head.headers["etag"] == f'"{sha256}"' == head.headers["x-linked-etag"]
    tree = served.ask("/api/models/team/hashed/tree/v1").json
    lfs = next(each["lfs"] for each in tree if each["path"] == "model.safetensors")
    assert lfs == {"oid": sha256, "sha256": sha256, "size": len(whole.body), "pointerSize": 134}


def test_a_tie_makes_another_file_of_equal_weights(served: Served, hub: registry.Registry) -> None:
    tied = hub.push(Tied(), "team/tie")
    apart = {name: tensor.clone() for name, tensor in hub.state_dict("team/tie").items()}
    loose = hub.push(apart, "team/loose")
    assert tied.digest == loose.digest
    tags = {
        served.ask(f"/team/{name}/resolve/v1/model.safetensors", "HEAD").headers["etag"] for name in ("tie", "loose")
    }
    assert len(tags) == 2, "or a cache would give one for the other"


def test_any_range_of_the_file_is_what_the_whole_file_has_there(served: Served) -> None:
    whole = resolve(served, "v2/model.safetensors").body
    head = resolve(served, "v2/model.safetensors", "HEAD")
    assert head.body == b"" and int(head.headers["content-length"]) == len(whole)
    edge = int.from_bytes(whole[:8], "little") + 8
    for begin, end in ((0, 1), (3, edge + 5), (edge, edge + 1), (edge - 1, len(whole)), (len(whole) - 7, len(whole))):
        answer = resolve(served, "v2/model.safetensors", Range=f"bytes={begin}-{end - 1}")
        assert answer.status == 206 and answer.body == whole[begin:end]
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(whole)}"
    assert resolve(served, "v2/model.safetensors", Range="bytes=-9").body == whole[-9:]
    assert resolve(served, "v2/model.safetensors", Range=f"bytes={edge}-").body == whole[edge:]
    beyond = resolve(served, "v2/model.safetensors", Range=f"bytes={len(whole)}-")
    assert beyond.status == 416 and beyond.headers["content-range"] == f"bytes */{len(whole)}"
    for strange in ("bytes=9-3", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=1e3-"):
        assert resolve(served, "v2/model.safetensors", Range=strange).status == 200
    changed = resolve(served, "v2/model.safetensors", Range="bytes=0-1", If_Range='"another"')
    assert changed.status == 200 and changed.body == whole


def test_the_file_is_the_one_that_an_export_writes(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    out = hub.export("team/pointnet:v1", tmp_path / "out.safetensors")
    assert resolve(served, "v1/model.safetensors").body == Path(out).read_bytes()


def test_a_flipped_bit_is_never_sent_to_the_end(hub: registry.Registry, served: Served) -> None:
    entry = hub.push({"w": torch.arange(600_000, dtype=torch.float32)}, "team/rotten")
    name = next(iter(hub._home.manifest(entry).blobs))
    blob = hub.home / "blobs" / name[:2] / f"{name}.safetensors"
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"\xff")
    with pytest.raises(Exception, match="IncompleteRead"):
        served.ask("/team/rotten/resolve/v1/model.safetensors")
    part = served.ask("/team/rotten/resolve/v1/model.safetensors", Range="bytes=2000000-2000009")
    assert part.status == 500 and "audit" in part.json["error"]


def test_what_cannot_be_found_is_said_in_the_hubs_words(served: Served) -> None:
    commit = resolve(served, "main/config.json", "HEAD").headers["x-repo-commit"]
    missing = resolve(served, "main/none")
    assert missing.status == 404 and missing.headers["x-repo-commit"] == commit
    assert missing.headers["x-error-code"] == "EntryNotFound"
    for revision in ("v9", "none", "a" * 40, "b" * 64, "refs%2Fpr%2F1", "x:y", "%00", "..%2f.."):
        answer = resolve(served, f"{revision}/config.json")
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RevisionNotFound"), revision
    for name in ("team/none", "none", "team/x..y", "-", "team/%00"):
        answer = served.ask(f"/{name}/resolve/main/config.json")
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound"), name
    assert served.ask("/nothing/of/the/kind").status == 404
    assert served.ask("/api/agent-harnesses").status == 404


def test_an_unknown_token_is_told_so_and_not_that_there_is_no_repository(served: Served) -> None:
    out = served.client(
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
        try:
            HfApi().model_info("team/pointnet")
        except HfHubHTTPError as error:
            out["kind"] = type(error).__name__
            out["said"] = str(error)
        """,
        token="hf_wrong",
    )
    assert out["kind"] == "HfHubHTTPError" and "Invalid credentials" in out["said"]


def test_reading_imports_no_torch(served: Served) -> None:
    resolve(served, "v1/model.safetensors")
    maps = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "libtorch" not in maps


def test_equal_weights_in_two_models_are_two_commits(served: Served, hub: registry.Registry) -> None:
    state: dict[str, Any] = dict(hub.state_dict("team/pointnet:v1"))
    hub.push(state, "team/twin")
    commits = {
        json.loads(served.ask(f"/api/models/team/{name}/revision/v1").body)["sha"] for name in ("pointnet", "twin")
    }
    assert len(commits) == 2
