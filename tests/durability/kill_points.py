"""Every verb, killed at every step. ``python tests/durability/kill_points.py`` steps through all and prints totals.

``kill_points.py requests [VERB ...]`` does it for homes elsewhere; the environment names their servers, as ``grounds``
has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where it is run as a program

from grounds import Elsewhere, Folder, Ground, ground_of
from homes import AT_ONCE, LARGE, check_collected, check_weights, check_whole, files, is_made, push, weights
from safetensors.torch import save_file
from stepping import arm_calls, arm_requests, arm_system_calls, build_library, environment, survives

from registry import Registry


def _versions(hub: Registry) -> None:
    push(hub, 1, aliases=["best"])
    push(hub, 2)
    push(hub, 3)


def _with_large(hub: Registry) -> None:
    push(hub, LARGE)


def _several(hub: Registry) -> None:
    for seed in (1, 2, 3, 4):
        push(hub, seed)


def _trashed(hub: Registry) -> None:
    _versions(hub)
    hub.rm("net:v3")
    hub.rm("net:v2")


def _renamed(hub: Registry) -> None:
    _versions(hub)
    hub.rename("net", "team/net")


def _moved(hub: Registry) -> None:
    _versions(hub)
    hub.alias("net:v2", "best")


def _damaged(hub: Registry) -> None:
    """The head of the second version has a flipped bit, and its file was given an orphan as a twin before."""
    _versions(hub)
    manifest = hub.catalog.manifest_and_documents(hub.get("net:v2"))[0]
    location = manifest.tensors["head.weight"].location
    with ground_of(hub.home).blobs(hub.home) as blobs:
        path = blobs / location.blob[:2] / f"{location.blob}.safetensors"
        twin = (hub.cache or hub.home) / "quarantine" / "twin"
        twin.parent.mkdir()
        shutil.copy(path, twin)
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[location.offset] ^= 1
        path.write_bytes(content)


def _push_folder(hub: Registry) -> None:
    """Push a folder with a card, a configuration and a tokenizer beside its weights."""
    folder = hub.home.with_name(f"{hub.home.name}-folder")
    folder.mkdir(exist_ok=True)
    save_file(weights(4), folder / "model.safetensors")
    for name, text in {"config.json": "{}", "vocab.txt": "a b c", "README.md": "# Net"}.items():
        (folder / name).write_text(text)
    hub.push(folder, "net", from_="ddp", note="seed 4", metrics={"seed": 4})


def _beside(hub: Registry) -> Registry:
    """Give the home of a colleague: some of the same versions, some others, one kept with its training state."""
    return Registry(hub.home.parent / "colleague")


def _colleague(hub: Registry) -> None:
    shutil.rmtree(hub.home.parent / "colleague", ignore_errors=True)
    theirs = _beside(hub)
    push(theirs, 1, aliases=["best"])
    theirs.copy(None, hub.home)
    push(theirs, 2, parent="net:v1", tags={"task": "seg"})
    push(theirs, 3, name="other", aliases=["last"])
    push(hub, 4)
    theirs.copy(None, _bundle(hub))
    theirs.close()


def _bundle(hub: Registry) -> Path:
    return hub.home.parent / "theirs.bundle"


def _pack(hub: Registry) -> None:
    path = hub.home.parent / "ours.bundle"
    path.unlink(missing_ok=True)
    hub.copy(None, path)


def _is_all_there(hub: Registry) -> None:
    """What was killed and begun again is done; both sides are whole."""
    theirs = _beside(hub)
    check_whole(theirs)
    assert {entry.identity for entry in theirs.list()} <= {entry.identity for entry in hub.list()}
    assert hub.get("other:last").note == "seed 3"
    theirs.close()


def _is_whole_or_none(hub: Registry) -> None:
    """A bundle that has its name is one."""
    path, there = hub.home.parent / "ours.bundle", hub.home.parent / "there"
    if path.exists():
        shutil.rmtree(there, ignore_errors=True)
        taken = Registry(there)
        assert len(taken.copy(path).of("copied")) == 3
        check_whole(taken)
        taken.close()


@dataclass(frozen=True)
class Scenario:
    """A verb to be killed, in a home prepared for it, or in none yet."""

    prepare: Callable[[Registry], object] | None
    act: Callable[[Registry], object]
    is_damaged: bool = False
    """Whether the home needs a repair before it is whole."""
    left: tuple[int, ...] = ()
    """How many versions may be in the trash afterwards; empty where that is not asked."""
    begun_again: bool = False
    """Whether it is done again after the kill, before what is beside the home is looked at."""
    check: Callable[[Registry], object] = lambda hub: None


SCENARIOS = {
    "first push": Scenario(None, lambda hub: push(hub, 1)),
    "push of a folder": Scenario(_versions, _push_folder),
    "push": Scenario(_versions, lambda hub: push(hub, 4)),
    "push of what is large": Scenario(_with_large, lambda hub: push(hub, LARGE + 1)),
    "push with aliases": Scenario(_versions, lambda hub: push(hub, 4, aliases=["best", "last"], parent="net:v1")),
    "push of another name": Scenario(_versions, lambda hub: push(hub, 4, name="other")),
    "push again": Scenario(_versions, lambda hub: push(hub, 2, aliases=["again"])),
    "alias": Scenario(_versions, lambda hub: hub.alias("net:v3", "best")),
    "unalias": Scenario(_versions, lambda hub: hub.unalias("net", "best")),
    "rm": Scenario(_versions, lambda hub: hub.rm("net:v1", force=True)),
    "rm of several": Scenario(_versions, lambda hub: hub.rm(["net:v1", "net:v2"], force=True)),
    "rename": Scenario(_versions, lambda hub: hub.rename("net", "team/net")),
    "rename back": Scenario(_renamed, lambda hub: hub.rename("team/net", "net")),
    "rollback": Scenario(_moved, lambda hub: hub.rollback("net:best")),
    "tag": Scenario(_versions, lambda hub: hub.tag("net:v1", {"task": "seg"})),
    "restore": Scenario(_trashed, lambda hub: hub.restore("net:v2")),
    "prune": Scenario(_versions, lambda hub: hub.prune("net", keep_last=1, dry_run=False), left=(0, 1)),
    "prune of several": Scenario(_several, lambda hub: hub.prune("net", keep_last=1, dry_run=False), left=(0, 3)),
    "gc": Scenario(_trashed, lambda hub: hub.gc(grace=AT_ONCE)),
    "load once": Scenario(_versions, lambda hub: hub.state_dict("net:v1", verify="once")),
    "copy to a home": Scenario(
        _colleague, lambda hub: _beside(hub).copy(None, hub.home), begun_again=True, check=_is_all_there
    ),
    "copy from a bundle": Scenario(
        _colleague, lambda hub: hub.copy(_bundle(hub)), begun_again=True, check=_is_all_there
    ),
    "copy into a bundle": Scenario(_versions, _pack, check=_is_whole_or_none),
    "audit --repair": Scenario(_damaged, lambda hub: hub.audit(repair=True), is_damaged=True),
}


def step_through(
    scenario: Scenario, folder: Path, arm: Callable[[int], None], stride: int = 1, ground: Ground | None = None
) -> int:
    """Kill a verb at every ``stride``-th step until it gets to its end; return the number of kills survived."""
    ground = ground or Folder()
    template = folder / "template"
    if scenario.prepare is not None:
        ground.home(template)
        ground.apart(partial(_prepare, scenario, template, ground))
    kills = 0
    while True:
        home = ground.copy(template, folder / "home")
        if survives(partial(_act, scenario, home, ground), 1 + kills * stride, arm):
            return kills
        ground.later(home)
        ground.apart(partial(_check_survivor, home, scenario, ground))
        kills += 1


def _prepare(scenario: Scenario, home: Path, ground: Ground) -> None:
    assert scenario.prepare is not None
    hub = ground.open(home)
    scenario.prepare(hub)
    hub.close()


def _act(scenario: Scenario, home: Path, ground: Ground) -> None:
    scenario.act(ground.open(home))


def _check_survivor(home: Path, scenario: Scenario, ground: Ground) -> None:
    left = files(home)
    hub = ground.open(home)
    if scenario.is_damaged:
        for seed in (1, 3):
            check_weights(hub, f"net:v{seed}", seed)
        assert hub.audit(repair=True).is_clean
        left = files(home)
    check_whole(hub)
    assert not scenario.left or len(hub.list("net", trashed=True)) in scenario.left, "all of them went, or none"
    assert files(home) == left, "reading and auditing remove nothing"
    if scenario.begun_again:
        scenario.act(hub)
        left = files(home)
    scenario.check(hub)
    # Whether a rename was done before the kill or not, the name of now is the one that is pushed to.
    after = push(hub, 99, name=hub.catalog.current("net") if is_made(hub) and hub.log() else "net")
    check_weights(hub, after.ref, 99)
    assert files(home) >= left, "a push removes nothing of another"
    check_collected(hub)
    check_whole(hub)
    hub.catalog.close()


ARMS = {"calls": arm_calls, "system calls": arm_system_calls, "requests": arm_requests}
"""What counts the steps."""


def main() -> None:
    """Step through everything, the system calls in a process of their own."""
    stride = int(os.environ.get("KILL_STRIDE", "1"))
    by = sys.argv[1] if len(sys.argv) > 1 else "calls"
    chosen = sys.argv[2:] or SCENARIOS
    folder = Path(tempfile.mkdtemp())
    total = 0
    try:
        for name in chosen:
            ground = Elsewhere.of_environment() if by == "requests" else Folder()
            kills = step_through(SCENARIOS[name], folder / name, ARMS[by], stride, ground)
            print(f"{kills:5} {name}", flush=True)
            total += kills
        print(f"{total:5} kill points survived, by {by}", flush=True)
        if by == "calls" and (library := build_library(folder)) is not None:
            subprocess.run([sys.executable, __file__, "system calls"], env=environment(library), check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
