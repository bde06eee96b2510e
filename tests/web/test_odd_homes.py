"""What a page says where there is little to show: no registry, an empty, a damaged, a read-only one, no such page.

And `registry ui`, as docs/web.md has it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from served import COMMAND, Served, serving

from registry import Registry

pytestmark = pytest.mark.services

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
PATHS = ("/", "/versions", "/activity", "/storage", "/trash", "/compare")


def filled(home: Path) -> Path:
    registry = Registry(home)
    for number in (1, 2):
        registry.push({"fc.weight": torch.arange(6.0) * number, "fc.bias": torch.ones(2)}, "net")
    registry.push({"w": torch.ones(3)}, "models/net", metrics={"acc": 0.5})
    registry.close()
    return home


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(filled(tmp_path_factory.mktemp("states") / "home")) as running:
        yield running


def looked(served: Served, path: str) -> tuple[int, str]:
    """The status and the text of a page, as a browser asks for it."""
    answer = served.get(path, Accept=HTML)
    assert answer.headers["content-type"].startswith("text/html"), answer.body
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return answer.status, answer.body.decode()


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_registry_says_what_fills_it(tmp_path: Path, path: str) -> None:
    with serving(tmp_path / "home") as empty:
        assert looked(empty, path)[0] == 200
        assert "registry push" in looked(empty, "/")[1]


@pytest.mark.parametrize("path", ["/nothing", "/net/resolve", "/static/other.js", "/models/none", "/models/net:v9"])
def test_what_is_not_there_is_a_page_for_browsers_and_a_document_for_programs(served: Served, path: str) -> None:
    status, text = looked(served, path)
    assert status == 404 and 'role="alert"' in text and "All models" in text
    answer = served.get(path)
    assert answer.status == 404 and answer.code
    assert served.request("HEAD", path).status == 404


def test_what_is_not_in_the_api_is_a_document_for_everybody(served: Served) -> None:
    answer = served.get("/api/v1/nothing", Accept=HTML)
    assert answer.status == 404 and answer.code == "no-such-page"


def test_another_method_is_refused_in_words(served: Served) -> None:
    answer = served.request("PUT", "/versions")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_every_page_has_an_answer_to_head(served: Served) -> None:
    for path in (*PATHS, "/models/net", "/models/net:v1", "/models/net:v1/files", "/static/app.js"):
        answer = served.request("HEAD", path)
        assert (answer.status, answer.body) == (200, b""), path


def test_a_model_may_be_called_as_a_page_is(served: Served) -> None:
    """Its page is where all are, and the Hub's clients get its files."""
    assert looked(served, "/models/models/net")[0] == 200
    answer = served.get("/models/net/resolve/main/model.safetensors")
    assert answer.status == 200 and b'"w"' in answer.body


def test_an_address_by_alias_leads_to_the_version(served: Served) -> None:
    assert served.get("/models/net:v2").status == 200
    assert served.get("/models/net:latest/tensors").headers["location"] == "/models/net:v2/tensors"


def test_a_tensor_with_a_pattern_for_a_name_is_shown(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    registry.push({"a[0].w*": torch.ones(2), "a?": torch.ones(1)}, "net", from_="single")
    registry.close()
    with serving(tmp_path / "home") as odd:
        assert "introduced by" in looked(odd, "/models/net:v1/tensors?tensor=a%5B0%5D.w*")[1]


def test_damaged_bytes_are_told_beside_what_is_known(tmp_path: Path) -> None:
    home = filled(tmp_path / "home")
    blob = Registry(home).catalog.manifest_and_documents(Registry(home).get("net:v1"))[0].tensors["fc.weight"].location
    [path] = (each for each in (home / "blobs").rglob("*") if each.is_file() and blob.blob[:20] in str(each))
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[blob.offset] ^= 1
    path.write_bytes(content)
    with serving(home) as damaged:
        status, text = looked(damaged, "/models/net:v1/tensors?tensor=fc.weight")
        assert status == 200 and 'role="alert"' in text and "fc.bias" in text
        assert looked(damaged, "/models/net:v1")[0] == 200


def test_a_damaged_catalog_is_told_on_every_page(tmp_path: Path) -> None:
    home = filled(tmp_path / "home")
    with serving(home) as running:
        assert looked(running, "/")[0] == 200
        for each in home.glob("registry.db*"):
            each.write_bytes(b"no database" * 1000)
        for path in PATHS[:-1]:
            status, text = looked(running, path)
            assert status in (500, 503) and 'role="alert"' in text and "Traceback" not in text, path


def test_a_registry_that_is_gone_is_told_on_every_page(tmp_path: Path) -> None:
    home = filled(tmp_path / "home")
    with serving(home) as running:
        assert looked(running, "/")[0] == 200
        home.rename(tmp_path / "elsewhere")
        for path in PATHS[:-1]:
            status, text = looked(running, path)
            assert status >= 400 and 'role="alert"' in text and str(home) in text, path
        assert not home.exists()


def test_a_read_only_registry_is_looked_at(tmp_path: Path) -> None:
    home, mount = filled(tmp_path / "home"), tmp_path / "frozen"
    mount.mkdir()
    bound = subprocess.run(["mount", "--bind", home, mount], capture_output=True).returncode
    if bound or subprocess.run(["mount", "-o", "remount,bind,ro", mount], capture_output=True).returncode:
        if not bound:
            subprocess.run(["umount", "--lazy", mount], check=True)
        pytest.skip("mounting is not allowed here")
    try:
        with serving(mount) as frozen:
            for path in (*PATHS, "/models/net", "/models/net:v1/tensors?describe=1&tensor=fc.weight"):
                assert looked(frozen, path)[0] == 200, path
            assert "histogram of fc.weight" in looked(frozen, "/models/net:v1/tensors?tensor=fc.weight")[1]
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def test_ui_tells_its_address_serves_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    command = [*COMMAND, "ui", "--no-browser", "--home", str(filled(tmp_path / "home"))]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    running = Served(process, tmp_path / "log")
    try:
        assert running.said.startswith(str(tmp_path / "home")) and running.host == "127.0.0.1"
        assert looked(running, "/")[0] == 200
        assert running.stop(signal.SIGINT) == 0
    finally:
        process.kill()
    assert process.stdout is not None and "stopped" in process.stdout.read() and running.log == ""


def test_ui_makes_no_registry_where_there_is_none(tmp_path: Path) -> None:
    command = [*COMMAND, "ui", "--no-browser", "--home", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and str(tmp_path / "none") in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()


def test_ui_of_a_server_leads_to_the_servers_own_pages() -> None:
    command = [*COMMAND, "ui", "--no-browser", "--home", "https://hub.lab.example"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "https://hub.lab.example" in done.stdout
