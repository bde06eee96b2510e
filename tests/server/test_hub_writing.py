"""The clients of Hugging Face, unmodified, pushing to a home."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from hub_clients import Answered, Served, cache as cache, serving
from nets import PointNet
from safetensors.torch import save, save_file

import registry

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> registry.Registry:
    hub = registry.Registry(tmp_path_factory.mktemp("written") / "home")
    hub.push(PointNet(num_classes=5, width=8), "native")
    return hub


@pytest.fixture(scope="module")
def served(hub: registry.Registry, cache: Path) -> Iterator[Served]:
    with serving(hub.home, cache) as served:
        yield served


def state(seed: int, prefix: str = "") -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {f"{prefix}{name}": torch.rand(3, 5, generator=made) for name in ("b.weight", "a.weight", "a.bias")}


def same(hub: registry.Registry, ref: str, expected: dict[str, torch.Tensor]) -> bool:
    found = hub.state_dict(ref)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def post(served: Served, path: str, body: Any, token: str | None = None) -> Answered:
    lines = body if isinstance(body, bytes) else json.dumps(body).encode()
    return served.ask(path, "POST", lines, Authorization=f"Bearer {token or served.token()}")


def line(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def file(path: str, content: bytes) -> dict[str, Any]:
    return line("file", path=path, content=base64.b64encode(content).decode(), encoding="base64")


def commit(served: Served, name: str, *lines: dict[str, Any], parent: str | None = None, **more: Any) -> Answered:
    header = line("header", summary="a commit", description="", **({"parentCommit": parent} if parent else {}))
    body = "\n".join(json.dumps(each) for each in (header, *lines))
    return post(served, f"/api/models/{name}/commit/main", body.encode(), **more)


def create(served: Served, name: str) -> None:
    namespace, _, rest = name.rpartition("/")
    assert post(served, "/api/repos/create", {"name": rest, "organization": namespace or None}).status == 200


def test_libraries_push_and_load_again(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    out = served.client(
        """
        import os, torch
        import tiny_models as tiny
        from huggingface_hub import HfApi, PyTorchModelHubMixin
        from nets import PointNet
        from transformers import AutoModelForMaskedLM, BertTokenizerFast

        class Mixed(PointNet, PyTorchModelHubMixin):
            def __init__(self, num_classes: int = 3, width: int = 4) -> None:
                super().__init__(num_classes, width)

        folder = os.environ["OUT"]
        model, _ = tiny.encoder()
        model.push_to_hub("lab/bert")
        torch.save(model.state_dict(), f"{folder}/bert.pt")
        open(f"{folder}/vocab.txt", "w").write("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
        BertTokenizerFast(vocab=f"{folder}/vocab.txt").push_to_hub("lab/bert")
        again = AutoModelForMaskedLM.from_pretrained("lab/bert").state_dict()
        out["bert"] = all(torch.equal(again[name], value) for name, value in model.state_dict().items())

        mixed = Mixed(num_classes=7, width=4)
        mixed.push_to_hub("lab/mixed")
        again = Mixed.from_pretrained("lab/mixed").state_dict()
        out["mixed"] = all(torch.equal(again[name], value) for name, value in mixed.state_dict().items())
        torch.save(mixed.state_dict(), f"{folder}/mixed.pt")

        import timm
        model, _ = tiny.convolutional()
        timm.models.push_to_hf_hub(model, "lab/timm", safe_serialization=True)
        again = timm.create_model("hf-hub:lab/timm", pretrained=True).state_dict()
        out["timm"] = all(torch.equal(again[name], value) for name, value in model.state_dict().items())
        torch.save(model.state_dict(), f"{folder}/timm.pt")
        """,
        served.token(),
        OUT=str(tmp_path),
    )
    assert out == {"bert": True, "mixed": True, "timm": True}
    for name in ("bert", "mixed", "timm"):
        expected = torch.load(tmp_path / f"{name}.pt")
        entry = hub.get(f"lab/{name}")
        assert entry.creator == "ann"
        held = hub.state_dict(entry.ref)
        assert all(torch.equal(expected[key], tensor) for key, tensor in held.items())
    assert hub.get("lab/bert").builder == "transformers" and hub.get("lab/timm").builder == "timm"
    assert hub.get("lab/bert").attachments == ("config", "tokenizer")
    loaded = hub.load("lab/bert")
    assert type(loaded).__name__ == "BertForMaskedLM"
    assert not hub.audit().faults


def test_files_and_folders_are_uploaded_tagged_and_found_unchanged(
    served: Served, hub: registry.Registry, tmp_path: Path
) -> None:
    save_file(state(1), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"width": 3}')
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Words\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/run.txt").write_text("what happened")
    out = served.client(
        """
        import os
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
        api = HfApi()
        folder = os.environ["OUT"]
        out["url"] = api.create_repo("lab/folder").repo_id
        try:
            api.create_repo("lab/folder")
        except HfHubHTTPError as error:
            out["again"] = error.response.status_code
        api.create_repo("lab/folder", exist_ok=True)
        out["empty"] = [api.model_info("lab/folder").sha, api.list_repo_files("lab/folder")]
        first = api.upload_folder(repo_id="lab/folder", folder_path=folder, commit_message="all of it")
        out["first"] = first.oid
        out["same"] = api.upload_folder(repo_id="lab/folder", folder_path=folder).oid
        out["files"] = sorted(api.list_repo_files("lab/folder"))
        api.create_tag("lab/folder", tag="paper")
        try:
            api.create_tag("lab/folder", tag="paper")
        except HfHubHTTPError as error:
            out["tagged"] = error.response.status_code
        api.create_tag("lab/folder", tag="paper", exist_ok=True)
        out["refs"] = [each.name for each in api.list_repo_refs("lab/folder").tags]
        out["card"] = api.upload_file(
            repo_id="lab/folder", path_in_repo="README.md", path_or_fileobj=b"# Other words", commit_message="words"
        ).oid
        out["note"] = api.upload_file(
            repo_id="lab/folder", path_in_repo="notes/more.txt", path_or_fileobj=b"more", commit_message="more"
        ).oid
        api.delete_file("notes/run.txt", repo_id="lab/folder")
        out["last"] = sorted(api.list_repo_files("lab/folder"))
        out["old"] = open(api.hf_hub_download("lab/folder", "README.md", revision=first.oid)).read()
        out["new"] = open(api.hf_hub_download("lab/folder", "README.md")).read()
        out["who"] = api.whoami()
        """,
        served.token(),
        OUT=str(tmp_path),
    )
    assert out["again"] == out["tagged"] == 409 and out["url"] == "lab/folder"
    assert len(out["empty"][0]) == 40 and out["empty"][1] == []
    assert (out["first"] == out["same"] and out["refs"] == ["paper", "v1"]) or sorted(out["refs"]) == ["paper", "v1"]
    assert out["files"] == ["README.md", "config.json", "model.safetensors", "notes/run.txt"]
    assert len({out["first"], out["card"], out["note"]}) == 3
    assert out["last"] == ["README.md", "config.json", "model.safetensors", "notes/more.txt"]
    assert out["old"].endswith("# Words\n") and out["new"] == "# Other words"
    assert out["who"]["name"] == "ann" and out["who"]["auth"]["accessToken"]["role"] == "write"
    assert [entry.version for entry in hub.list("lab/folder")] == [3, 2, 1], "a card alone makes no version"
    assert hub.get("lab/folder:v1").note == "all of it" and hub.card("lab/folder") == "# Other words"
    assert same(hub, "lab/folder:v1", state(1)) and same(hub, "lab/folder:v3", state(1))
    assert len({hub.get(f"lab/folder:v{number}").digest for number in (1, 2, 3)}) == 1


def test_large_files_come_by_lfs_and_in_parts(served: Served, hub: registry.Registry, tmp_path: Path) -> None:
    made = torch.Generator().manual_seed(2)
    large = {"w": torch.rand(40_000_000 // 4, generator=made), "v": torch.rand(110_000_000 // 4, generator=made)}
    save_file(large, tmp_path / "model.safetensors")
    small = {"w": torch.rand(12_000_000 // 4, generator=made)}
    save_file(small, tmp_path / "small.safetensors")
    out = served.client(
        """
        import os
        from huggingface_hub import HfApi
        api = HfApi()
        folder = os.environ["OUT"]
        for name in ("large", "small"):
            api.create_repo(f"lab/{name}")
        out["large"] = api.upload_file(
            repo_id="lab/large", path_in_repo="model.safetensors", path_or_fileobj=f"{folder}/model.safetensors").oid
        out["again"] = api.upload_file(
            repo_id="lab/large", path_in_repo="model.safetensors", path_or_fileobj=f"{folder}/model.safetensors").oid
        with open(f"{folder}/small.safetensors", "rb") as file:
            api.upload_file(repo_id="lab/small", path_in_repo="model.safetensors", path_or_fileobj=file)
        info = api.model_info("lab/large", files_metadata=True)
        out["lfs"] = [each.lfs.sha256 for each in info.siblings]
        path = api.hf_hub_download("lab/large", "model.safetensors")
        import hashlib
        out["got"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
        """,
        served.token(),
        OUT=str(tmp_path),
    )
    assert out["large"] == out["again"]
    sha256 = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert out["lfs"] == [sha256] and out["got"] == sha256, "known from the start, and bit for bit"
    assert same(hub, "lab/large", large) and same(hub, "lab/small", small)
    left = list((hub.home / "hub/objects").glob("*/*"))
    assert not left, "what a version has is not kept twice"


def test_wrapped_names_are_stored_bare_and_the_file_comes_back_as_it_was(
    served: Served, hub: registry.Registry
) -> None:
    create(served, "lab/wrapped")
    raw = save(state(3, "module."), {"format": "pt", "who": "me"})
    first = commit(served, "lab/wrapped", file("model.safetensors", raw))
    assert first.status == 200, first.body
    assert same(hub, "lab/wrapped", state(3)) and hub.get("lab/wrapped").unwrapping.cuts
    plain = served.ask("/lab/wrapped/resolve/main/model.safetensors")
    assert "module." not in plain.body[:300].decode("latin-1")
    sha256 = hashlib.sha256(raw).hexdigest()
    as_it_was = served.ask(f"/lab/wrapped/resolve/{sha256}/model.safetensors")
    assert as_it_was.body == raw and as_it_was.headers["etag"] == f'"{sha256}"'
    assert commit(served, "lab/wrapped", file("model.safetensors", raw)).json == first.json
    offered = post(
        served, "/api/models/lab/wrapped/preupload/main", {"files": [{"path": "model.safetensors", "size": len(raw)}]}
    ).json["files"][0]
    assert offered["oid"] == sha256, "so that a client does not send it again"


def test_a_repeated_commit_is_the_same_and_one_on_an_old_state_is_refused(
    served: Served, hub: registry.Registry
) -> None:
    create(served, "lab/repeated")
    before = served.ask("/api/models/lab/repeated").json["sha"]
    lines = [file("model.safetensors", save(state(4))), file("config.json", b'{"a": 1}')]
    first = commit(served, "lab/repeated", *lines, parent=before)
    assert first.status == 200
    assert commit(served, "lab/repeated", *lines, parent=before).json == first.json
    stale = commit(served, "lab/repeated", file("config.json", b'{"a": 2}'), parent=before)
    assert stale.status == 412 and first.json["commitOid"] in stale.json["error"]
    assert hub.get("lab/repeated").version == 1
    other = commit(served, "lab/repeated", file("config.json", b'{"a": 2}'), parent=first.json["commitOid"])
    assert other.status == 200 and hub.get("lab/repeated").version == 2
    back = commit(served, "lab/repeated", file("config.json", b'{"a": 1}'))
    assert back.status == 200 and hub.get("lab/repeated").version == 3, "what was there before the newest is new again"


def test_files_before_the_weights_wait_for_them(served: Served, hub: registry.Registry) -> None:
    create(served, "lab/waiting")
    commit(served, "lab/waiting", file("config.json", b'{"a": 1}'), file("README.md", b"# Soon"))
    assert served.ask("/lab/waiting/resolve/main/config.json").body == b'{"a": 1}'
    listed = served.ask("/api/models/lab/waiting/tree/main").json
    assert [each["path"] for each in listed] == [
        "README.md",
        "config.json",
    ]
    with pytest.raises(registry.errors.UnknownModel):
        hub.get("lab/waiting")
    shards = {f"model-0000{number}-of-00002.safetensors": save({f"w{number}": torch.ones(2)}) for number in (1, 2)}
    index = {"metadata": {}, "weight_map": {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}}
    for path, content in shards.items():
        assert commit(served, "lab/waiting", file(path, content)).status == 200
    done = commit(served, "lab/waiting", file("model.safetensors.index.json", json.dumps(index).encode()))
    assert done.status == 200, done.body
    assert same(hub, "lab/waiting", {"w1": torch.ones(2), "w2": torch.ones(2)}) and hub.card("lab/waiting") == "# Soon"
    for path, content in shards.items():
        assert served.ask(f"/lab/waiting/resolve/main/{path}").body == content
    again = commit(served, "lab/waiting", file("model-00002-of-00002.safetensors", save({"w2": torch.zeros(2)})))
    assert again.status == 200 and torch.equal(hub.state_dict("lab/waiting:v2")["w2"], torch.zeros(2))


def test_weights_in_shards_and_in_one_file_take_each_others_place(served: Served, hub: registry.Registry) -> None:
    out = served.client(
        """
        import tiny_models as tiny, torch
        from huggingface_hub import HfApi
        from transformers import AutoModelForMaskedLM
        model, _ = tiny.encoder()

        def loads():
            again = AutoModelForMaskedLM.from_pretrained("lab/split").state_dict()
            return all(torch.equal(again[name], value) for name, value in model.state_dict().items())

        for size in ("20KB", "1GB", "10KB"):
            model.push_to_hub("lab/split", max_shard_size=size)
            out[size] = [loads(), len([f for f in HfApi().list_repo_files("lab/split") if f.endswith(".safetensors")])]
            with torch.no_grad():
                model.bert.embeddings.LayerNorm.weight += 1
        """,
        served.token(),
    )
    assert all(loads for loads, _ in out.values()), out
    assert out["1GB"][1] == 1 and 1 < out["20KB"][1] < out["10KB"][1]
    assert [entry.version for entry in hub.list("lab/split")] == [3, 2, 1]


def test_what_cannot_be_kept_is_refused_in_a_sentence_and_leaves_nothing(
    served: Served, hub: registry.Registry, tmp_path: Path
) -> None:
    create(served, "lab/refused")
    torch.save(state(5), tmp_path / "new.bin")
    torch.save(state(5), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    new, old = ((tmp_path / f"{each}.bin").read_bytes() for each in ("new", "old"))
    twice = {**state(6), **state(6, "module.")}
    damaged = save(state(6))[:-3]
    for lines, said in (
        ([file("pytorch_model.bin", new)], "push them with `registry push`"),
        ([file("pytorch_model.bin", old)], "push them with `registry push`"),
        ([file("model.safetensors", damaged)], "model.safetensors"),
        ([file("model.safetensors", save(twice))], "module"),
        ([file("model.safetensors", save({}))], "without tensors"),
        ([file("a.safetensors", save(state(6))), file("b.safetensors", save(state(7)))], "two sets of weights"),
        ([file("unet/model.safetensors", save(state(6)))], "lies in a folder"),
        ([file("../x", b"x")], "not a valid path"),
        ([file("/x", b"x")], "not a valid path"),
        ([line("lfsFile", path="model.safetensors", algo="sha256", oid="a" * 64, size=3)], "was not uploaded"),
        ([line("lfsFile", path="model.safetensors", algo="sha256", oid="../../x", size=3)], "no SHA-256"),
        ([line("file", path="x", content="§", encoding="base64")], "not valid base64"),
        ([line("nonsense", path="x")], "not an operation"),
    ):
        answer = commit(served, "lab/refused", *lines)
        assert answer.status == 400 and said in answer.json["error"], answer.body
        assert str(hub.home) not in answer.json["error"], "where things lie on the server is nobody's business"
    assert served.ask("/api/models/lab/refused").json["siblings"] == []
    large = post(served, "/api/models/lab/refused/preupload/main", {"files": [{"path": "video.mp4", "size": 11 << 20}]})
    assert large.status == 400 and "10.0 MiB are the most" in large.json["error"]
    for body in (b"", b"{", b"[]", b'{"files": 3}', b'{"files": [{"path": 3, "size": "x"}]}'):
        assert post(served, "/api/models/lab/refused/preupload/main", body).status == 400
    for body in (b"{", b"3", b'{"key": "file"}', b'{"key": "file", "value": 3}'):
        assert post(served, "/api/models/lab/refused/commit/main", body).status == 400
    long = post(served, "/api/models/lab/refused/commit/main", b'{"key": "' + bytes(17 << 20))
    assert long.status == 413 and "by LFS" in long.json["error"]
    branch = post(served, "/api/models/lab/refused/commit/dev", b"")
    assert branch.status == 400 and "main" in branch.json["error"]
    deleted = commit(served, "native", line("deletedFile", path="model.safetensors"))
    assert deleted.status == 400 and "replaced" in deleted.json["error"]
    trained = tmp_path / "training_args.bin"
    torch.save({"lr": 0.1}, trained)
    kept = commit(served, "native", file("training_args.bin", trained.read_bytes()))
    assert kept.status == 200 and hub.get("native").attachments == ("files",)


def test_a_default_client_is_told_how_to_upload_large_files(served: Served, tmp_path: Path) -> None:
    save_file({"w": torch.rand(11 << 18)}, tmp_path / "model.safetensors")
    out = served.client(
        """
        import os
        from huggingface_hub import HfApi
        api = HfApi()
        api.create_repo("lab/xet")
        try:
            api.upload_file(repo_id="lab/xet", path_in_repo="model.safetensors",
                path_or_fileobj=os.environ["OUT"] + "/model.safetensors")
        except Exception as error:
            out["said"] = f"{type(error).__name__}: {error}"
        """,
        served.token(),
        OUT=str(tmp_path),
        HF_HUB_DISABLE_XET="0",
    )
    assert "HF_HUB_DISABLE_XET=1" in out["said"]


def test_an_address_lets_in_one_object_once_and_for_a_while(served: Served, hub: registry.Registry) -> None:
    create(served, "lab/signed")
    content = save({"w": torch.rand(11 << 18)})
    oid = hashlib.sha256(content).hexdigest()

    def batch() -> dict[str, Any]:
        wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(content)}]}
        return dict(post(served, "/lab/signed.git/info/lfs/objects/batch", wanted).json["objects"][0])

    def staged() -> list[str]:
        return [path.name for path in (hub.home / "hub/objects").glob("*/*")]

    href = batch()["actions"]["upload"]["href"]
    for wrong, status in (
        (href.replace(oid, "b" * 64), 403),
        (href.replace("expires=", "expires=9"), 403),
        (href.replace("size=", "size=1"), 403),
        (href.partition("&signature")[0], 403),
        (href.replace(f"/{oid}?", "/..%2f..%2fregistry.db?"), 403),
    ):
        answer = served.ask(wrong, "PUT", content)
        assert answer.status == status and "start the upload again" in answer.json["error"], wrong
    for body in (content[:-1], content + b"x", bytes(len(content))):
        assert served.ask(href, "PUT", body).status == 400
        assert staged() == []
    assert served.ask(href, "PUT", content).status == 200 and staged() == [oid]
    assert served.ask(href, "PUT", content).status == 200, "an answer may be lost"
    assert "actions" not in batch(), "it is there"
    lfs = line("lfsFile", path="model.safetensors", algo="sha256", oid=oid, size=len(content))
    assert commit(served, "lab/signed", lfs).status == 200 and staged() == []
    assert served.ask(href, "PUT", content).status == 409 and staged() == []


def test_a_part_that_is_still_coming_changes_nothing_of_what_is_whole(served: Served, hub: registry.Registry) -> None:
    create(served, "lab/parts")
    weights = {"w": torch.rand(17 << 20)}
    content = save(weights)
    oid = hashlib.sha256(content).hexdigest()
    wanted = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": oid, "size": len(content)}],
    }
    [offered] = post(served, "/lab/parts.git/info/lfs/objects/batch", wanted).json["objects"]
    upload = offered["actions"]["upload"]
    step = int(upload["header"].pop("chunk_size"))
    hrefs = [upload["header"][number] for number in sorted(upload["header"])]
    place = urlsplit(hrefs[0])
    with socket.create_connection((place.hostname, place.port), timeout=60) as late:
        late.sendall(f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: localhost\r\n".encode())
        late.sendall(f"Content-Length: {step}\r\n\r\n".encode() + content[: 2 << 20])
        for number, href in enumerate(hrefs):
            assert served.ask(href, "PUT", content[number * step : (number + 1) * step]).status == 200
        assert served.ask(upload["href"], "POST", b"{}").status == 200
        late.sendall(bytes(step - (2 << 20)))
        assert late.recv(1 << 16).startswith(b"HTTP/1.1 409")
    lfs = line("lfsFile", path="model.safetensors", algo="sha256", oid=oid, size=len(content))
    assert commit(served, "lab/parts", lfs).status == 200
    assert same(hub, "lab/parts", weights)


def test_only_who_may_write_a_model_changes_it(served: Served, hub: registry.Registry) -> None:
    reader, other = served.token("rob", "read"), served.token("eve", "write", "other/*")
    weights = file("model.safetensors", save(state(8)))
    for token in (reader, other):
        assert post(served, "/api/repos/create", {"name": "no", "organization": "lab"}, token).status == 403
        assert commit(served, "native", weights, token=token).status == 403
        files = {"files": [{"path": "x", "size": 1}]}
        assert post(served, "/api/models/native/preupload/main", files, token).status == 403
        objects = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 1}]}
        assert post(served, "/native.git/info/lfs/objects/batch", objects, token).status == 403
        assert post(served, "/api/models/native/tag/main", {"tag": "x"}, token).status == 403
    body = json.dumps({"name": "no"}).encode()
    assert served.ask("/api/repos/create", "POST", body).status == 401
    assert served.ask("/api/models/native", Authorization=f"Bearer {other}").status == 403
    listed = served.ask("/api/models", Authorization=f"Bearer {other}").json
    assert listed == []


def test_pushing_imports_no_torch(served: Served) -> None:
    create(served, "lab/plain")
    config = b'{"model_type": "bert", "architectures": ["BertModel"]}'
    done = commit(served, "lab/plain", file("model.safetensors", save(state(9))), file("config.json", config))
    assert done.status == 200
    assert "libtorch" not in Path(f"/proc/{served.process.pid}/maps").read_text()
