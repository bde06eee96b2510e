"""A disk that is full, a quota, a home that is read-only, forbidden or gone: one sentence, and the state as before."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from contents import is_empty
from homes import check_collected, check_whole, files, made, push, weights

import registry.cli
from registry import Registry
from registry.errors import HomeUnusable, NoRegistry, RegistryError

as_root = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, with a large checkpoint in it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    torch.save({f"layer{number}.weight": torch.randn(500, 500) for number in range(20)}, folder / "large.pth")
    torch.save(weights(7), folder / "small.pth")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(folder: Path) -> Path:
    return made(folder / "home", lambda hub: push(hub, 1, aliases=["best"]))


def refused(home: Path, *arguments: str, before: Callable[[], object] = lambda: None) -> str:
    """Run a command that cannot be done, in a process of its own, and return the one sentence that it says."""
    printed, said = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(printed[1], 1)
        os.dup2(said[1], 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
        before()
        os._exit(exit_code(home, *arguments))
    os.close(printed[1])
    os.close(said[1])
    with os.fdopen(printed[0]) as output, os.fdopen(said[0]) as errors:
        assert output.read() == ""
        words = errors.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 1, f"{status}: {words}"
    (sentence,) = words.splitlines()
    assert sentence.startswith("registry: ") and "Traceback" not in sentence
    return sentence


def exit_code(home: Path, *arguments: str) -> int:
    sys.argv = ["registry", arguments[0], "--home", str(home), *arguments[1:]]
    try:
        registry.cli.main()
        return 0
    except SystemExit as exit:
        return int(exit.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import what the commands do: who becomes another user may not read where it is installed."""
    folder = tmp_path_factory.mktemp("imported")
    torch.save(weights(7), folder / "small.pth")
    arguments = sys.argv
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for verb in (
            "push FILE",
            "alias small:v1 x",
            "audit --repair",
            "rm small:v1 --force",
            "gc",
            "export small OUT",
        ):
            words = verb.replace("FILE", str(folder / "small.pth")).replace("OUT", str(folder / "out.pth"))
            exit_code(folder / "home", *words.split())
    sys.argv = arguments


@contextmanager
def unchanged(home: Path) -> Iterator[None]:
    """What is done inside changes no version, and leaves no file."""
    before = files(home)
    yield
    hub = Registry(home)
    assert files(home) == before
    check_whole(hub)
    assert [entry.ref for entry in hub.list()] == ["net:v1"]
    assert push(hub, 2).version == 2
    check_collected(hub)
    hub.catalog.close()


def limit_files(nbytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes))


def become_nobody() -> None:
    os.setgid(65534)
    os.setuid(65534)


@pytest.mark.parametrize("nbytes", [0, 100, 4096, 1_000_000, 19_999_999])
def test_a_quota_leaves_everything_as_it_was(home: Path, folder: Path, nbytes: int) -> None:
    with unchanged(home):
        sentence = refused(home, "push", str(folder / "large.pth"), before=limit_files(nbytes))
        assert "limit" in sentence or "full" in sentence


@pytest.mark.parametrize("nbytes", [0, 4096, 20_000, 60_000])
def test_a_quota_that_stops_the_first_use_is_one_sentence(folder: Path, nbytes: int) -> None:
    home = folder / f"new{nbytes}"
    assert "limit" in refused(home, "push", str(folder / "small.pth"), before=limit_files(nbytes))
    hub = Registry(home)
    assert is_empty(hub) and push(hub, 1).version == 1
    check_whole(hub)
    hub.catalog.close()


@pytest.mark.parametrize("verb", [["rm", "net:v1", "--force"], ["alias", "net:v1", "other"], ["gc"]])
def test_what_cannot_be_written_down_is_not_done(home: Path, verb: list[str]) -> None:
    with unchanged(home):
        assert "limit" in refused(home, *verb, before=limit_files(0))


def test_a_full_disk_leaves_everything_as_it_was(folder: Path) -> None:
    mount = folder / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", mount], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        home = made(mount / "home", lambda hub: push(hub, 1, aliases=["best"]))
        with unchanged(home):
            assert "the disk is full" in refused(home, "push", str(folder / "large.pth"))
        made(home, lambda hub: hub.rm("net:v2"))
        ballast = mount / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        for verb in (["push", str(folder / "small.pth"), "net"], ["rm", "net:v1", "--force"]):
            sentence = refused(home, *verb)
            assert "full" in sentence
        ballast.unlink()
        hub = Registry(home)
        check_whole(hub)
        check_collected(hub)
        hub.catalog.close()
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def test_a_file_system_that_is_read_only(folder: Path, home: Path) -> None:
    mount = folder / "frozen"
    mount.mkdir()
    bound = subprocess.run(["mount", "--bind", home, mount], capture_output=True).returncode
    if bound or subprocess.run(["mount", "-o", "remount,bind,ro", mount], capture_output=True).returncode:
        if not bound:
            subprocess.run(["umount", "--lazy", mount], check=True)
        pytest.skip("mounting is not allowed here")
    try:
        for verb in (["push", str(folder / "small.pth")], ["rm", "net:v1", "--force"], ["gc"]):
            refused(mount, *verb)
        hub = Registry(mount)
        check_whole(hub)
        hub.state_dict("net", verify="once")
        assert any("read-only" in finding.advice for finding in hub.doctor())
        hub.catalog.close()
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


@as_root
def test_a_home_that_may_not_be_entered_is_one_sentence(home: Path) -> None:
    Registry(home).list()  # so that all modules are there that nobody could import
    home.chmod(0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            become_nobody()
            Registry(home).list()
        except HomeUnusable as error:
            code = 0 if "Permission denied" in str(error) else 2
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    home.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 0


@as_root
@pytest.mark.parametrize(
    "verb", [["push", "SMALL"], ["rm", "net:v1", "--force"], ["alias", "net:v1", "x"], ["gc"], ["audit", "--repair"]]
)
def test_a_home_of_somebody_else_can_be_read_but_not_changed(folder: Path, home: Path, verb: list[str]) -> None:
    words = [str(folder / "small.pth") if word == "SMALL" else word for word in verb]
    with unchanged(home):
        if verb == ["audit", "--repair"]:
            blob = next(home.glob("blobs/*/*"))
            aside = folder / "aside"
            shutil.move(blob, aside)
        sentence = refused(home, *words, before=become_nobody)
        assert "cannot" in sentence
        if verb == ["audit", "--repair"]:
            shutil.move(aside, blob)


@as_root
def test_a_blob_that_may_not_be_read_is_reported_so(folder: Path, home: Path) -> None:
    blob = next(home.glob("blobs/*/*"))
    blob.chmod(0o600)
    assert "check the permissions" in refused(home, "export", "net", str(folder / "out.pth"), before=become_nobody)
    blob.chmod(0o444)


@as_root
def test_an_export_to_where_one_may_not_write_does_not_ask_for_space(folder: Path, home: Path) -> None:
    (folder / "closed").mkdir()
    sentence = refused(home, "export", "net", str(folder / "closed" / "out.pth"), before=become_nobody)
    assert sentence.endswith("Permission denied; choose another folder")


@as_root
def test_a_file_in_a_folder_that_may_not_be_listed_is_pushed(folder: Path) -> None:
    """By its name it could be a part beside others, which nobody can see."""
    inner = folder / "inner"
    inner.mkdir()
    shutil.copy(folder / "small.pth", inner / "consolidated.00.pth")
    inner.chmod(0o711)
    home = folder / "of nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    child = os.fork()
    if child == 0:
        become_nobody()
        os._exit(exit_code(home, "push", str(inner / "consolidated.00.pth"), "net"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [entry.ref for entry in Registry(home).list()] == ["net:v1"]


@as_root
@pytest.mark.parametrize("part", ["blobs", "tmp", "running"])
def test_a_folder_that_may_not_be_written(folder: Path, home: Path, part: str) -> None:
    """Everything else belongs to the user who pushes."""
    for path in [home, *home.rglob("*")]:
        os.chown(path, 65534, 65534)
    os.chown(home / part, 0, 0)
    with unchanged(home):
        assert "permission denied" in refused(home, "push", str(folder / "small.pth"), before=become_nobody)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1])
def test_a_home_that_vanishes_under_a_push_is_not_called_stored(folder: Path, home: Path, delay: float) -> None:
    """Moved away at any moment after it began; SQLite would go on writing to the file that no longer has a name."""
    moved = folder / "elsewhere"
    ready = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(RegistryError):
            hub = Registry(home)
            hub.list()
            hub.push(folder / "large.pth", "large", progress=lambda done, total: os.write(ready[1], b"."))
            os._exit(0)
        os._exit(1)
    os.read(ready[0], 1)
    time.sleep(delay)
    home.rename(moved)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not home.exists()
    hub = Registry(moved)
    # Moved between the commit and the look at what was committed, it is stored, although the push says that it is gone.
    assert [entry.ref for entry in hub.list()] in ([["large:v1", "net:v1"]] + ([["net:v1"]] if status else []))
    assert hub.audit().is_clean
    check_collected(hub)


def test_a_catalog_whose_home_was_removed_takes_no_more_changes(home: Path) -> None:
    hub = Registry(home)
    catalog, entry = hub.catalog, hub.get("net")
    shutil.rmtree(home)
    for act in (
        lambda: catalog.set_alias(entry, "other"),
        lambda: catalog.record_event("note"),
        lambda: catalog.forget_unneeded_blobs(),
    ):
        with pytest.raises(RegistryError):
            act()
    assert not home.exists()


def test_a_home_that_was_removed_is_made_again_by_the_next_push_alone(home: Path) -> None:
    hub = Registry(home)
    assert hub.get("net").ref == "net:v1"
    shutil.rmtree(home)
    with pytest.raises(NoRegistry):
        hub.alias("net:v1", "other")
    assert not home.exists()
    assert push(hub, 2).ref == "net:v1"
    check_collected(hub)
