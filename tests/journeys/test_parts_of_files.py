"""Several sets of weights of one file as the parts of one version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import equal, fresh, step, trained, values
from invocation import run
from torch import nn

from registry import errors

CLASSES = {"point": "nets:PointNet", "img": "nets:ImageNet"}
INIT = {"point": {"num_classes": 3}, "img": {"width": 6}}


def saved(folder: Path, contents: Any) -> Path:
    torch.save(contents, folder / "cp.pth")
    return folder / "cp.pth"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a pre-training under DDP wrote: one of its models wrapped, and the optimizer of both."""
    parts, optimizer = trained()
    contents = {
        "models": {"point": nn.DataParallel(parts["point"]).state_dict(), "img": parts["img"].state_dict()},
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
    }
    return saved(tmp_path, contents)


PATHS = ["models.point", "models.img"]


def test_the_parts_of_a_file_are_the_parts_of_the_live_models(hub: Any, file: Path) -> None:
    entry = hub.push(file, "file", weights=PATHS, model=CLASSES, init=INIT)
    live = hub.push(trained()[0], "live")
    assert entry.digest == live.digest and entry.parts == live.parts
    assert entry.unwrapping.evidence == "class" and entry.weights_key == "models/point, models/img"
    loaded = hub.load("file")
    assert all(equal(values(loaded[name]), values(part)) for name, part in trained()[0].items())


def test_without_classes_each_part_is_read_by_itself(hub: Any, file: Path) -> None:
    entry = hub.push(file, "file", weights=PATHS)
    assert entry.digest == hub.push(trained()[0], "live").digest
    assert entry.parts == (("point", None, {}), ("img", None, {})) and not entry.unwrapping.doubts
    assert [cut.path for cut in entry.unwrapping.cuts] == ["point.module"]
    with pytest.raises(errors.ModelNeeded):
        hub.load("file")
    assert list(hub.load("file", model=CLASSES, init=INIT)) == ["point", "img"]
    image = fresh()["img"]
    assert hub.load("file", part="img", model=image) is image and hub.check(image, "file", part="img").is_equal


def test_a_file_is_checked_by_the_parts_that_it_holds(hub: Any, file: Path) -> None:
    parts, _ = trained()
    assert hub.check(parts, str(file), weights=PATHS).is_equal
    hub.push(parts, "live")
    assert hub.check("live", str(file), weights=PATHS).is_equal


def test_the_optimizer_over_all_parts_of_a_file_goes_on(hub: Any, file: Path) -> None:
    hub.push(file, "file", weights=PATHS, model=CLASSES, init=INIT)
    went_on, optimizer = trained()
    step(went_on, optimizer)
    parts = fresh()
    again = torch.optim.Adam([p for part in reversed(parts.values()) for p in part.parameters()])
    assert hub.resume("file", parts, again).epoch == 7
    step(parts, again)
    assert all(equal(values(parts[name]), values(went_on[name])) for name in parts)


def test_parts_are_named_where_their_paths_end_alike(hub: Any, tmp_path: Path) -> None:
    parts = fresh()
    path = saved(tmp_path, {name: {"model": part.state_dict()} for name, part in parts.items()})
    with pytest.raises(
        errors.SamePartName, match=r"'point.model', 'img.model' would both be the part 'model'"
    ) as refusal:
        hub.push(path, "cp", weights=["point.model", "img.model"])
    advised = str(refusal.value).rpartition(": ")[2].split()
    run("push", path, "advised", *advised, home=hub.home)
    assert [part.part for part in hub.get("advised").parts] == ["NAME1", "NAME2"]
    entry = hub.push(path, "cp", weights={"points": "point.model", "images": "img.model"})
    assert [part.part for part in entry.parts] == ["points", "images"]
    assert equal(hub.state_dict("cp", part="images"), values(parts["img"]))


def test_the_models_of_a_list_are_numbered(hub: Any, tmp_path: Path) -> None:
    parts = fresh()
    hub.push(saved(tmp_path, [part.state_dict() for part in parts.values()]), "cp", weights=["0", "1"])
    assert equal(hub.state_dict("cp", part="1"), values(parts["img"]))


def test_a_class_is_asked_for_each_part_or_for_none(hub: Any, file: Path) -> None:
    with pytest.raises(errors.PartsDiffer, match=r"model= does not give one for each part of .*it lacks 'point'"):
        hub.push(file, "cp", weights=PATHS, model={"img": "nets:ImageNet"})
    with pytest.raises(errors.NotByPart, match="model= is 'nets:ImageNet'"):
        hub.push(file, "cp", weights=PATHS, model="nets:ImageNet")
    with pytest.raises(errors.InitWithoutModel):
        hub.push(file, "cp", weights=PATHS, init=INIT)
    with pytest.raises(errors.ShapesDiffer, match=r"img\.|features"):
        hub.push(file, "cp", weights=PATHS, model=CLASSES, init={**INIT, "img": {"width": 5}})


def test_the_command_line_pushes_shows_and_exports_parts(home: Path, file: Path, tmp_path: Path) -> None:
    options = ["--weights", "models.point", "--weights", "image=models.img"]
    classes = ["--model", "point=nets:PointNet", "--model", "image=nets:ImageNet"]
    arguments = ["--init", "point.num_classes=3", "--init", "image.width=6"]
    assert "stored cp:v1" in run("push", file, "cp", *options, *classes, *arguments, home=home).stdout
    shown = run("show", "cp", home=home).stdout
    assert "point: nets:PointNet(num_classes=3); image: nets:ImageNet(width=6)" in shown
    assert "parts point + image" in run("list", "cp", home=home).stdout
    document = json.loads(run("show", "cp", "--json", home=home).stdout)
    assert document["parts"][1] == {"part": "image", "model_class": "nets:ImageNet", "init": {"width": 6}}
    run("export", "cp", tmp_path / "image.pth", "--part", "image", home=home)
    assert equal(torch.load(tmp_path / "image.pth"), values(trained()[0]["img"]))
    run("push", tmp_path / "image.pth", "alone", home=home)
    assert "equal: 9 tensors; different: 0" in run("check", "cp", "alone", "--part", "image", home=home).stdout
    assert "9 tensors" in run("load", "cp", "--part", "image", home=home).stdout
    assert "20 tensors" in run("load", "cp", home=home).stdout
    refused = run("load", "cp", "--part", "picture", home=home, expect=1)
    assert "cp:v1 has no part 'picture': its parts are 'point', 'image'" in refused.stderr
    both = ["--model", "point=nets:PointNet", "--model", "image=nets:ImageNet"]
    assert "20 tensors" in run("load", "cp", *both, home=home).stdout
