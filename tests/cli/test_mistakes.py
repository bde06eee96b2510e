"""What a newcomer gets wrong: each mistake ends in one sentence that says what to do next."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from grounds import KINDS, Ground, chosen
from invocation import run

from registry import Registry
from registry.errors import RegistryError

CLASSES = """
import torch

class PointNet(torch.nn.Module):
    def __init__(self, num_classes=40, width=32):
        super().__init__()
        self.conv = torch.nn.Linear(3, width)
        self.head = torch.nn.Linear(width, num_classes)

class DGCNN(torch.nn.Module):
    def __init__(self, args):
        super().__init__()
        self.k = args.k
        self.conv = torch.nn.Linear(args.emb_dims, 3)
"""


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where somebody begins: their classes, their files, and a registry with a model in it."""
    with chosen(request) as ground:
        yield filled(tmp_path_factory, ground)


def filled(tmp_path_factory: pytest.TempPathFactory, ground: Ground) -> Path:
    from importlib import import_module

    folder = tmp_path_factory.mktemp("beginner")
    (folder / "beginner.py").write_text(CLASSES)
    (folder / "README.txt").write_text("Weights of PointNet\n")
    for name in ("empty", "runs"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        sys.modules.pop("beginner", None)  # that of another folder
        beginner: Any = import_module("beginner")
    model = beginner.PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    model.head(model.conv(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    torch.save(model.state_dict(), folder / "best.pth")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save({"model": model.state_dict(), "ema": beginner.PointNet().state_dict()}, folder / "two.pth")
    torch.save({"epoch": 3, "args": {"lr": 0.1}}, folder / "settings.pth")
    hub = ground.open(ground.home(folder / "home"))
    hub.push(folder / "best.pth", "pointnet", model="beginner:PointNet", metrics={"acc": 0.5}, aliases=["best"])
    hub.push(beginner.PointNet().state_dict(), "pointnet", tags={"task": "seg"})
    hub.close()
    return folder


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("REGISTRY_TRUST", "beginner")  # of a home that others may write to
    return folder


class Mistake(NamedTuple):
    """A command line, and what of its refusal says what to do."""

    typed: str
    way: str
    code: int = 1


MISTAKES = [
    # Which version, which model
    Mistake("show pointnet:7", "did you mean pointnet:v7?"),
    Mistake("load pointnet:v01", "did you mean pointnet:v1?"),
    Mistake("show pointnet/v1", "did you mean pointnet:v1?"),
    Mistake("show pointnet/best", "did you mean pointnet:best?"),
    Mistake("show team/pointnet/v1", "did you mean team/pointnet:v1?"),
    Mistake("show pointnt", "did you mean pointnet?"),
    Mistake("show pointnet:bset", "did you mean pointnet:best?"),
    Mistake("show pointnet:v9", "did you mean pointnet:v2?"),
    Mistake("show pointnet@zz", "write name, name:v3, name:alias"),
    Mistake("show resnet", "`registry list` shows what there is"),
    Mistake("show best.pth", "`registry push best.pth`"),
    Mistake("log resnet", "`registry list` shows what there is"),
    Mistake("list pointnet:best", "`registry show pointnet:best`"),
    Mistake("list wraper:ddp", "did you mean wrapper:ddp?"),
    Mistake("list 'acc>'", "as in acc>=0.9"),
    Mistake("push best.pth pointnet:best", "give the name alone, 'pointnet'"),
    Mistake("push best.pth pointnet:v2", "the registry numbers the versions itself"),
    Mistake("push best.pth --alias v3", "choose a word such as 'best'"),
    Mistake("prune pointnet", "such as --keep-last 5"),
    Mistake("rm pointnet", "--all-versions"),
    Mistake("rm pointnet:v1", "drop it with --force"),
    Mistake("restore pointnet:v1", "`registry list --trash`"),
    # What to push
    Mistake("push https://example.org/best.pth", "download it"),
    Mistake("push s3://bucket/runs/best.pth", "download it"),
    Mistake("push nothing.pth", "check the path"),
    Mistake("push .", "give one of its files: 'best.pth'"),
    Mistake("push empty", "it is an empty folder; give the folder that has the files"),
    Mistake("push README.txt", "it is a text file; give a file that torch.save or safetensors wrote"),
    Mistake("push optimizer.pt", "push the file that has the model's weights"),
    Mistake("push settings.pth", "save model.state_dict()"),
    Mistake("push two.pth", "--weights model"),
    Mistake("push two.pth --weights foo", "it has 'model' (4 tensors), 'ema' (4 tensors)"),
    Mistake("push best.pth two.pth", "push one file at a time"),
    Mistake("push best.pth --from ddpp", "give one of ddp, dp"),
    Mistake("push best.pth --from-ddp --from-single", "give one of --from-ddp, --from-single and --from", 2),
    Mistake("push best.pth --world-size 0", "at least 1", 2),
    Mistake("push best.pth --metric acc", "write for example acc=0.92", 2),
    Mistake("push best.pth --metric acc=high", "write for example acc=0.92", 2),
    Mistake("push best.pth --tag seg", "write for example task=seg", 2),
    Mistake("import best.pth", "registry push"),
    # Which class
    Mistake("push best.pth --model beginner.py:PointNet", "write beginner:PointNet"),
    Mistake("push best.pth --model beginner.PointNet", "did you mean beginner:PointNet?"),
    Mistake("push best.pth --model beginner:Pointnet", "did you mean PointNet?"),
    Mistake("push best.pth --model beginers:PointNet", "run from the folder that holds it"),
    Mistake("push best.pth x --model beginner:DGCNN --init-as namespace", "--init k=... --init emb_dims=..."),
    Mistake("push best.pth x --model beginner:PointNet --init num_classes=forty", "num_classes='forty' is a text"),
    Mistake("push best.pth x --model beginner:PointNet --init num_clases=40", "did you mean num_classes?"),
    Mistake("push best.pth x --model beginner:PointNet --init num_classes=10", "check the constructor arguments"),
    Mistake("push best.pth x --init num_classes=40", "--model package.module:Class"),
    Mistake("load pointnet:v2", "name it with model='package.module:Net' (--model)"),
    Mistake("load pointnet:v1 --device gpu", "'cpu', 'cuda' or 'cuda:0'"),
    Mistake("load pointnet:v1 --cast bf17", "bfloat16", 2),
    Mistake("load pointnet:v1 --init num_classes=10", "--allow-shape"),
    # Where to
    Mistake("export pointnet out.onnx", "use .safetensors or .pth"),
    Mistake("export pointnet best.pth", "remove it or give another name"),
    Mistake("export pointnet nowhere/out.pth", "create it first"),
    Mistake("copy pointnet", "add a folder such as ./models/", 2),
    Mistake("copy pointnet backup", "write ./backup"),
    Mistake("list --home nowhere", "--home or REGISTRY_HOME names another place"),
    # Which command
    Mistake("lst", "Did you mean 'list'?", 2),
    Mistake("push best.pth --form-ddp", "--from-ddp", 2),
    Mistake("load", "Missing argument 'REF'", 2),
    Mistake("list --limit many", "give a whole number", 2),
    Mistake("gc --grace soon", "7d, 12h or 30m", 2),
    Mistake("log --after yesterday", "2026-11-01"),
    Mistake("log --verb pushes", "there are push, tag"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.typed)
def test_a_mistake_ends_in_one_sentence_with_the_next_step(mistake: Mistake, inside: Path) -> None:
    before = Registry(inside / "home").list()
    said = run(*shlex.split(mistake.typed), home=inside / "home", expect=mistake.code)
    lines = said.stderr.splitlines()
    if mistake.code == 1:
        assert len(lines) == 1 and lines[0].startswith("registry: ")
    else:
        assert lines[0].startswith("Usage: registry") and lines[1].startswith("Try 'registry")
        assert lines[-1].startswith("Error: ")
    assert mistake.way in lines[-1]
    assert said.stdout == ""
    assert Registry(inside / "home").list() == before


Act = Callable[[Any, Any], object]
"""What is done with a registry and a live model."""

IN_PYTHON: dict[str, tuple[Act, str]] = {
    "strict=False": (lambda hub, net: hub.load("pointnet", strict=False), "allow_missing=['head.*']"),
    "map_location": (lambda hub, net: hub.load("pointnet", map_location="cpu"), "device='cuda:0'"),
    "a version by itself": (lambda hub, net: hub.load("pointnet", version=1), "'pointnet:v3'"),
    "alias for aliases": (lambda hub, net: hub.push(net, "x", alias="best"), "aliases='best'"),
    "from_ddp for from_": (lambda hub, net: hub.push(net, "x", from_ddp=True), "from_='ddp'"),
    "tags in a list": (lambda hub, net: hub.push(net, "x", tags=["seg"]), "{'task': 'seg'}"),
    "a metric without its name": (lambda hub, net: hub.push(net, "x", metrics=0.9), "{'acc': 0.92}"),
    "no name": (lambda hub, net: hub.push(net), "registry.push(..., 'name')"),
    "a list of weights": (lambda hub, net: hub.push([1], "x"), "give a path"),
    "a tensor": (lambda hub, net: hub.push(torch.ones(1), "x"), "or a state dict"),
    "the parameters": (lambda hub, net: hub.push(net.parameters(), "x"), "a torch.nn.Module"),
    "the class and not its instance": (lambda hub, net: hub.push(type(net), "x"), "of a class an instance"),
    "the optimizer's state": (
        lambda hub, net: hub.push(net, "x", optimizer=torch.optim.Adam(net.parameters()).state_dict()),
        "give the optimizer itself",
    ),
    "an optimizer beside a file": (
        lambda hub, net: hub.push("best.pth", "x", optimizer=torch.optim.Adam(net.parameters())),
        "push the model itself with its optimizer",
    ),
    "arguments that lack one": (
        lambda hub, net: hub.push("best.pth", "x", model="beginner:DGCNN", init=Namespace(k=1)),
        "--init emb_dims=...",
    ),
    "a dict for a model": (lambda hub, net: hub.load("pointnet", model={}), "give an instance"),
    "True for patterns": (lambda hub, net: hub.load("pointnet", allow_missing=True), "['head.*']"),
    "a whole dtype": (lambda hub, net: hub.load("pointnet:v1", cast="int64"), "torch.bfloat16"),
    "no process group": (lambda hub, net: hub.load("pointnet:v1", ddp=True), "torchrun"),
    "no state to resume": (
        lambda hub, net: hub.resume("pointnet", net, torch.optim.Adam(net.parameters())),
        "optimizer=optimizer",
    ),
    "a name in list": (lambda hub, net: hub.list(name="pointnet"), "list('pointnet acc>=0.9')"),
    "a bare name in rm": (lambda hub, net: hub.rm("pointnet"), "all_versions=True"),
}


@pytest.mark.parametrize(("act", "way"), IN_PYTHON.values(), ids=IN_PYTHON.keys())
def test_a_mistake_in_python_ends_in_one_sentence_with_the_next_step(act: Act, way: str, inside: Path) -> None:
    from importlib import import_module

    hub = Registry(inside / "home")
    before = hub.list()
    with pytest.raises(RegistryError) as refused:
        act(hub, import_module("beginner").PointNet())
    (sentence,) = str(refused.value).splitlines()
    assert way in sentence
    assert hub.list() == before


def test_what_is_a_mistake_elsewhere_is_taken_here(inside: Path, hub: Any) -> None:
    """A Namespace for the constructor's arguments, a class for its name, a dtype by its name."""
    from importlib import import_module

    beginner: Any = import_module("beginner")
    arguments = Namespace(k=1, emb_dims=4)
    hub.push(beginner.DGCNN(arguments).state_dict(), "dgcnn", model=beginner.DGCNN, init=arguments)
    assert hub.load("dgcnn", model=beginner.DGCNN, cast="bfloat16").conv.weight.dtype is torch.bfloat16
