"""The first load of a process, which opens the version and has its bytes hashed before it imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nets
import pytest
from nets import Counting, PointNet
from torch import nn

from registry import Registry

SEEN = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("hashing first:", "registry.blobs.verification" in sys.modules)

sys.meta_path.insert(0, Finder())
import registry

home, ref, options = registry.Registry(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
try:
    model = home.load(ref, **options)
    total = sum(float(parameter.detach().sum()) for parameter in model.parameters())
    print(type(model).__name__, registry.loaded_from(model).ref, total)
except registry.errors.RegistryError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def local(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home")


def first_load(local: Registry, ref: str, **options: object) -> list[str]:
    """What a process says that has imported nothing before."""
    path = [str(Path(nets.__file__).parent), str(Path(__file__).resolve().parents[2])]
    command = [sys.executable, "-c", f"import sys; sys.path += {path}\n{SEEN}", str(local.home), ref, repr(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()


def total(model: nn.Module) -> float:
    return sum(float(parameter.detach().sum()) for parameter in model.parameters())


@pytest.mark.parametrize("options", [{}, {"verify": "never"}, {"verify": "once"}, {"resident": True}])
def test_it_gives_what_every_other_load_gives(local: Registry, options: dict[str, object]) -> None:
    local.push(PointNet(), "net")
    said = first_load(local, "net", **options)
    model = local.load("net", **options)  # type: ignore[call-overload]
    assert said == ["hashing first: True", f"PointNet net:v1 {total(model)}"]


def test_a_class_that_the_call_names_is_built(local: Registry) -> None:
    local.push(PointNet().state_dict(), "net", from_="single")
    assert first_load(local, "net", model="nets:PointNet", init={})[1].startswith("PointNet net:v1 ")


def test_a_part_is_loaded_by_itself(local: Registry) -> None:
    parts = {"image": PointNet(), "text": Counting()}
    local.push(parts, "both")
    assert first_load(local, "both", part="image")[1] == f"PointNet both:v1 {total(parts['image'])}"


def test_a_bit_that_has_changed_is_found(local: Registry) -> None:
    local.push(PointNet(), "net")
    [blob] = local.home.glob("blobs/*/*.safetensors")
    blob.chmod(0o600)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert first_load(local, "net")[-1] == "CorruptTensors"


@pytest.mark.parametrize(
    ("ref", "options", "error"),
    [
        ("nothing", {}, "UnknownModel"),
        ("net", {"ddp": True}, "NoProcessGroup"),
        ("net", {"init_as": "nonsense"}, "InvalidArgument"),
        ("net", {"model": "not a class"}, "BadTarget"),
        ("net", {"part": "image"}, "UnknownPart"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_same_error(
    local: Registry, ref: str, options: dict[str, object], error: str
) -> None:
    local.push(PointNet(), "net")
    assert first_load(local, ref, **options)[-1] == error
