"""A registry that is served, used by our own client."""

from __future__ import annotations

import html
import json
import multiprocessing
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from invocation import run
from nets import PointNet
from served import COMMAND, Served, serving
from torch import nn

import registry
from registry import Registry, errors
from registry.blobs import writer
from registry.client.address import ServerAddress
from registry.client.store import cache_of
from registry.errors import NotAllowed, WrongToken
from registry.modules import live

pytestmark = pytest.mark.services

MIB = 1 << 20


def net(seed: int = 0, wide: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(wide, wide), nn.Linear(wide, 3))


def stored_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in home.glob("blobs/*/*"))


def fetches(served: Served) -> list[str]:
    return [line for line in served.log.splitlines() if "GET /api/v1/blobs/" in line]


def test_nobody_is_told_where_the_home_lies(served: Served, client: Registry, home: Path) -> None:
    client.push(net(), "net")
    entry = "/api/v1/entry?ref="
    for path in (f"{entry}nope", f"{entry}net:v9", "/models/nope", "/versions?q=nope", "/nope/raw/main/x"):
        for accept in ("text/html", "application/json"):
            answer = served.get(path, Accept=accept)
            assert answer.status in (403, 404) and str(home).encode() not in answer.body, path
    message = served.get(f"{entry}nope").document["error"]["message"]
    assert f"there is no model 'nope' in {served.url}" in message


def test_what_a_page_says_to_load_a_version_by_loads_it(served: Served, client: Registry) -> None:
    client.push(PointNet(num_classes=5, width=8), "net", init={"num_classes": 5, "width": 8})
    shown = html.unescape(served.get("/models/net:v1", Accept="text/html").body.decode())
    said, *_ = re.findall(r"hub = registry\.Registry\(\"[^\n]*\nm = hub\.load\([^<]*model=\"nets:PointNet\"\)", shown)
    names: dict[str, object] = {"registry": registry}
    exec(said, names)
    assert isinstance(names["m"], PointNet)


def test_the_documents_are_those_of_the_command_line(client: Registry, home: Path) -> None:
    client.push(net(), "net", metrics={"acc": 0.5}, aliases=["best"], tags={"task": "seg"}, note="first")
    client.push(net(1), "team/net", parent="net:v1")
    for words in (
        ["list"],
        ["show", "net:v1"],
        ["models"],
        ["log"],
        ["diff", "net:v1", "team/net:v1"],
        ["blame", "net"],
    ):
        there, here = (run(*words, "--json", home=each).stdout for each in (client.address, home))
        assert json.loads(there) == json.loads(here)


def test_the_server_never_loads_torch(client: Registry, served: Served) -> None:
    model = net()
    client.push(model, "net", example=torch.ones(1, 8), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    client.push(net(1), "net", parent="net:v1")
    client.load("net:v1", model=net(5))
    client.diff("net:v1", "net:v2")
    client.resume("net:v1", model)
    client.replay("net:v1", model=model).require()
    maps = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "torch" not in maps and "numpy" not in maps


def test_only_what_the_server_lacks_travels(client: Registry, home: Path, cache: Path) -> None:
    model = net(wide=1000)
    client.push(model, "net")
    before = stored_bytes(home)
    for folder in cache.glob("*/blobs/*/*"):
        folder.unlink()
    with torch.no_grad():
        dict(model.named_parameters())["1.weight"].add_(1)
    client.push(model, "net")
    assert stored_bytes(home) - before < 20_000
    assert sum(path.stat().st_size for path in cache.glob("*/blobs/*/*")) < 20_000  # nor is the rest fetched
    assert client.check(model, "net:v2").is_equal


def test_what_the_actor_is_and_what_its_program_says(client: Registry) -> None:
    entry = client.push(net(), "net")
    [event] = client.log("net")
    assert (entry.creator, event.actor) == ("ann", "ann")
    assert "@" in event.details["client"]


def test_a_class_that_comes_from_a_server_is_not_trusted(client: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY_TRUST")
    client.push(nn.Linear(2, 2), "net", init={"in_features": 2, "out_features": 2})
    with pytest.raises(errors.UntrustedClass, match=str(client.address)):
        client.load("net")
    assert isinstance(client.load("net", model="torch.nn.modules.linear:Linear"), nn.Linear)


@pytest.mark.parametrize("verb", ["audit", "gc", "doctor", "tokens"])
def test_what_needs_the_files_says_where_it_runs(client: Registry, verb: str) -> None:
    with pytest.raises(
        errors.OnServerAlone, match=f"registry {verb.rstrip('s')}.*runs on the host that serves {client.address}"
    ):
        getattr(client, verb)()


def test_no_server_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(errors.ServerUnreachable, match="Connection refused"):
        Registry("http://127.0.0.1:9").list()


def test_a_server_without_tls_is_asked_once_and_its_address_is_put_right(served: Served) -> None:
    with pytest.raises(errors.ServerUnreachable, match="does not speak TLS, so its address begins with http://"):
        Registry(served.url.replace("http://", "https://")).list()
    assert served.log.count("Invalid HTTP request") <= 1


def test_a_refusal_names_the_server_and_where_the_token_came_from(
    served: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Registry(served.url)
    monkeypatch.delenv("REGISTRY_TOKEN", raising=False)
    with pytest.raises(errors.TokenNeeded, match=f"'write' for other at {served.url}.*`registry login {served.url}`"):
        client.push({"weight": torch.ones(2)}, "other")
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_mistyped")
    with pytest.raises(errors.WrongToken, match=f"the token in REGISTRY_TOKEN is .* at {served.url}"):
        client.list()
    reader = Registry(home).add_token("rita", role="read")
    monkeypatch.setenv("REGISTRY_TOKEN", reader.text)
    with pytest.raises(errors.NotAllowed, match=f"of rita does not give .* 'write' for other at {served.url}"):
        client.push({"weight": torch.ones(2)}, "other")


def test_a_token_does_not_cross_a_network_unprotected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_secret")
    with pytest.raises(errors.UnprotectedToken) as refused:
        Registry("http://hub.example:8080").list()
    assert "crt_secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["http://", "http://ann:secret@hub:8080", "https://hub:port", "http://hub:8080/?a=b", "http://hub/models"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises((errors.InvalidAddress, errors.SecretInAddress)) as refused:
        Registry(address)
    assert "secret" not in str(refused.value)


# The cache


def _states(address: str, start, digests) -> None:
    start.wait()
    state = Registry(address).state_dict("net")
    digests.put(float(state["0.weight"].sum()))


def test_eight_processes_fetch_each_file_once(client: Registry, served: Served, cache: Path) -> None:
    model = net(wide=3000)
    client.push(model, "net")
    for path in cache.glob("*/blobs/*/*"):
        path.unlink()
    context = multiprocessing.get_context("spawn")
    start, digests = context.Barrier(8), context.Queue()
    ranks = [context.Process(target=_states, args=(str(client.address), start, digests)) for _ in range(8)]
    for rank in ranks:
        rank.start()
    found = {digests.get(timeout=120) for _ in ranks}
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0
    assert found == {float(model.state_dict()["0.weight"].sum())}
    # A file of 36 MB comes in two pieces.
    assert len(fetches(served)) == 2


def _large(client: Registry, cache: Path) -> tuple[Path, bytes]:
    """Push 80 MiB, and return where they would be fetched, and the bytes."""
    client.push({"w": torch.arange(20 * MIB, dtype=torch.float32)}, "net")
    [blob] = cache.glob("*/blobs/*/*")
    content = blob.read_bytes()
    blob.unlink()
    part = cache_of(ServerAddress.parse(str(client.address))) / "fetching" / f"{blob.stem}.part"
    part.parent.mkdir(exist_ok=True)
    return part, content


def test_a_download_goes_on_where_it_stopped(client: Registry, served: Served, cache: Path) -> None:
    part, content = _large(client, cache)
    part.write_bytes(content[: 70 * MIB])
    assert torch.equal(client.state_dict("net")["w"], torch.arange(20 * MIB, dtype=torch.float32))
    assert len(fetches(served)) == 1 and not part.exists()


def test_what_came_of_something_else_is_fetched_anew(client: Registry, cache: Path) -> None:
    part, content = _large(client, cache)
    part.write_bytes(bytes(len(content)))
    assert torch.equal(client.state_dict("net")["w"], torch.arange(20 * MIB, dtype=torch.float32))


def test_damaged_bytes_are_not_taken_into_the_cache(client: Registry, home: Path, cache: Path) -> None:
    client.push(net(), "net")
    [mine], [theirs] = cache.glob("*/blobs/*/*"), home.glob("blobs/*/*")
    mine.unlink()
    content = bytearray(theirs.read_bytes())
    content[-1] ^= 1
    theirs.chmod(0o644)
    theirs.write_bytes(content)
    with pytest.raises(errors.DamagedBlob, match="does not hold what its name says"):
        client.state_dict("net")
    assert not [*cache.glob("*/blobs/*/*")] and not [*cache.glob("*/fetching/*")]


def test_trimming_takes_what_was_used_longest_ago_and_nothing_that_is_mapped(client: Registry, cache: Path) -> None:
    for seed in range(3):
        client.push(net(seed, wide=100), f"net{seed}")
    held = client.state_dict("net0")
    for number, stamp in enumerate(sorted(cache.glob("*/stamps/*.json"))):
        os.utime(stamp, (number, number))
    said = json.loads(run("cache", "--to", "0", "--json", home=cache).stdout)
    assert said["trimmed"]["removed"] == 2 and said["caches"][0]["blobs"] == 1
    assert torch.equal(held["0.weight"], net(0, wide=100).state_dict()["0.weight"])
    assert torch.equal(client.state_dict("net1")["0.weight"], net(1, wide=100).state_dict()["0.weight"])


# Many at once, and what goes wrong


def _work(address: str, number: int, failures) -> None:
    try:
        hub = Registry(address)
        for turn in range(4):
            mine = {"w": torch.full((1000,), float(number)), "v": torch.full((1000,), float(turn))}
            entry = hub.push(mine, "shared", tags={"by": str(number)})
            assert all(torch.equal(hub.state_dict(entry)[name], tensor) for name, tensor in mine.items())
            hub.alias(entry, f"by-{number}")
            hub.list("shared", limit=5)
    except BaseException as error:
        failures.put(repr(error))
        raise


@pytest.mark.parametrize("workers", [1, 2])
def test_eight_clients_at_once_lose_nothing_and_leave_no_gap(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, token_of: Callable[..., str], workers: int
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", token_of("write"))
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    with serving(home, "--workers", str(workers)) as server:
        clients = [context.Process(target=_work, args=(server.url, n, failures)) for n in range(8)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        assert [each.exitcode for each in clients] == [0] * 8, failures.get()
        entries = Registry(server.url).list("shared")
    assert sorted(entry.version for entry in entries) == list(range(1, 33))
    assert {alias for entry in entries for alias in entry.aliases} == {f"by-{n}" for n in range(8)}
    assert Registry(home).audit().is_clean


def test_memory_stays_flat_while_much_is_sent_and_fetched(client: Registry, served: Served, cache: Path) -> None:
    client.push({"w": torch.zeros(1000)}, "warm")
    before = served.resident
    client.push({"w": torch.arange(64 * MIB, dtype=torch.float32)}, "net")
    for path in cache.glob("*/blobs/*/*"):
        path.unlink()
    client.state_dict("net")
    assert served.resident - before < 40 * MIB


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_push_goes_on_at_a_server_that_was_started_again(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, token_of: Callable[..., str], how: int
) -> None:
    tensors = {f"w{n}": torch.full((8 * MIB,), float(n)) for n in range(6)}
    failures: list[BaseException] = []
    began, goes_on = threading.Event(), threading.Event()

    def progress(done: int, total: int) -> None:
        if done > total * 0.6 and not began.is_set():  # of which the first half is the hashing
            began.set()
            goes_on.wait(60)

    def push() -> None:
        try:
            Registry(address).push(tensors, "net", progress=progress)
        except BaseException as error:
            failures.append(error)

    with serving(home) as first:
        address, port = first.url, str(first.port)
        monkeypatch.setenv("REGISTRY_TOKEN", token_of("write"))
        thread = threading.Thread(target=push)
        thread.start()
        assert began.wait(120)
        first.stop(how)
    assert registry.Registry(home).list() == ()
    with serving(home, "--port", port):
        goes_on.set()
        thread.join(120)
        assert not failures, failures
        assert all(torch.equal(Registry(address).state_dict("net")[k], v) for k, v in tensors.items())
    here = Registry(home)
    assert here.audit().is_clean and here.list()[0].ref == "net:v1"
    assert not [*(home / "tmp").glob("*")] and not [*(home / "running").glob("*")]


@pytest.mark.parametrize("models", [("team/*",), ("*",)])
def test_an_import_for_which_there_is_no_right_ends_in_a_sentence(
    served: Served, home: Path, tmp_path: Path, token_of: Callable[..., str], models: tuple[str, ...]
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    torch.save({"w": torch.ones(3)}, folder / "new.pth")
    theirs = token_of("write" if models == ("team/*",) else "read", *models, user="eve")
    words = ("import", str(folder), "--home", served.url)
    environment = {**os.environ, "REGISTRY_TOKEN": theirs}
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1 and "the token of eve does not give the role 'write'" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_refusal_names_server_and_model_and_what_the_token_may(
    served: Served, home: Path, token_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Registry(home).push({"w": torch.ones(3)}, "other/net")
    monkeypatch.setenv("REGISTRY_TOKEN", token_of("read", "team/*", "lab/*", user="eve"))
    hub = Registry(served.url)
    refusals = {
        "other/net": (lambda: hub.get("other/net"), "role 'read' for other/net", "read"),
        "team/net": (lambda: hub.push({"w": torch.ones(3)}, "team/net"), "role 'write' for team/net", "write"),
    }
    for model, (refused, what, role) in refusals.items():
        with pytest.raises(NotAllowed) as error:
            refused()
        said = str(error.value)
        assert f"{what} at {served.url}: it gives 'read' for team/*, lab/*" in said
        assert f"registry token add eve --role {role} --models '{model}'" in said
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_" + "x" * 43)
    with pytest.raises(WrongToken, match=f"revoked at {served.url}"):
        hub.list()


def test_tensors_that_become_equal_between_hashing_and_writing_are_sent(
    client: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "NOTHING", 1 << 40)
    tensors = {name: torch.full((600, 1024), float(value)) for value, name in enumerate("abc")}
    read = live.LiveTensor.pieces

    def pieces(self: live.LiveTensor, *, own: bool = True) -> object:
        if own:  # what a training does when the first one is about to be written
            tensors["a"].fill_(2.0), tensors["b"].fill_(2.0)
        return read(self, own=own)

    monkeypatch.setattr(live.LiveTensor, "pieces", pieces)
    entry = client.push(tensors, "net")
    assert {float(tensor.unique()) for tensor in client.state_dict(entry).values()} == {2.0}


def test_what_a_server_lacks_is_said_to_be_lacking_there(served: Served, client: Registry, home: Path) -> None:
    client.push(net(), "net")
    for asked in ("nat", "net:best"):
        with pytest.raises(errors.RegistryError) as refused:
            client.get(asked)
        assert str(home) not in str(refused.value)
    with pytest.raises(errors.UnknownModel, match=served.url):
        client.get("nothing-like-it")
