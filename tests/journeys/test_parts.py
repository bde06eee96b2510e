"""Several models as one version: exactly their ModuleDict, and each of them again by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from branches import Projector, Telling, Words, equal, fresh, step, trained, values
from nets import Counting, ImageNet, PointNet
from torch import nn
from torch.optim.swa_utils import AveragedModel

import registry
from registry import errors
from registry.integrations.beginning import confirm_loaded


@pytest.fixture
def stocked(hub: Any) -> Any:
    """A registry with ``cp:v1``, pre-trained models with the state of their one optimizer."""
    parts, optimizer = trained()
    hub.push(parts, "cp", optimizer=optimizer)
    return hub


def test_a_push_of_several_models_is_the_push_of_their_module_dict(hub: Any) -> None:
    parts, optimizer = trained()
    one = hub.push(parts, "one", optimizer=optimizer)
    other = hub.push(nn.ModuleDict(parts), "other", optimizer=optimizer)
    assert one.digest == other.digest and one.record_digest == other.record_digest
    assert one.source_name == other.source_name and one.notices == other.notices == ()
    assert one.parts == (("point", "nets:PointNet", {"num_classes": 3}), ("img", "nets:ImageNet", {"width": 6}))
    assert one.model_class is None
    assert equal(hub.state_dict("one"), values(nn.ModuleDict(parts)))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, AveragedModel])
def test_each_part_is_unwrapped_by_itself(hub: Any, wrap: Any) -> None:
    parts = fresh()
    bare = hub.push(parts, "bare")
    wrapped = hub.push({"point": wrap(parts["point"]), "img": parts["img"]}, "wrapped")
    assert wrapped.digest == bare.digest and wrapped.parts == bare.parts
    assert [cut.path.partition(".")[0] for cut in wrapped.unwrapping.cuts] == ["point"]
    assert wrapped.unwrapping.evidence == "live" and wrapped.saved_as == "wrapped"


def test_what_wraps_all_of_them_is_unwrapped_too(hub: Any, tmp_path: Path) -> None:
    parts = fresh()
    whole = nn.DataParallel(nn.ModuleDict({"point": nn.DataParallel(parts["point"]), "img": parts["img"]}))
    entry = hub.push(whole, "wrapped")
    assert entry.digest == hub.push(parts, "bare").digest and [part.part for part in entry.parts] == ["point", "img"]
    assert equal(values(hub.load("wrapped", part="point")), values(parts["point"]))
    hub.export("wrapped", tmp_path / "all.pth", format="as-saved")
    assert equal(torch.load(tmp_path / "all.pth"), values(whole))
    hub.export("wrapped", tmp_path / "point.pth", format="as-saved", part="point")
    assert equal(torch.load(tmp_path / "point.pth"), values(nn.DataParallel(parts["point"])))


def test_a_push_in_the_background_keeps_what_they_were(hub: Any) -> None:
    parts, optimizer = trained()
    before = {name: values(part) for name, part in parts.items()}
    pending = hub.push(parts, "cp", optimizer=optimizer, blocking=False)
    step(parts, optimizer)
    pending.wait()
    loaded = hub.load("cp")
    assert all(equal(values(loaded[name]), before[name]) for name in parts)


def test_a_list_of_models_is_parts_that_are_numbered(hub: Any) -> None:
    parts = list(fresh().values())
    assert [part.part for part in hub.push(parts, "cp").parts] == ["0", "1"]
    assert equal(hub.state_dict("cp", part="1"), values(parts[1]))
    assert hub.check(parts, "cp").is_equal


def test_a_part_may_be_called_as_a_method_of_torch_s_dict(hub: Any) -> None:
    parts = {"values": fresh()["img"], "module": fresh()["point"]}
    hub.push(parts, "cp")
    loaded = hub.load("cp")
    assert all(equal(values(loaded[name]), values(part)) for name, part in parts.items())


def test_a_load_gives_every_model_by_its_part_ready_for_inference(stocked: Any) -> None:
    parts, _ = trained()
    loaded = stocked.load("cp")
    assert list(loaded) == ["point", "img"] and not any(part.training for part in loaded.values())
    assert all(equal(values(loaded[name]), values(part)) for name, part in parts.items())
    assert isinstance(loaded["point"], PointNet) and isinstance(loaded["img"], ImageNet)
    assert stocked.push(loaded, "cp").reused


def test_one_part_is_that_model_by_its_own_names_and_digest(stocked: Any, tmp_path: Path) -> None:
    parts, _ = trained()
    model, report = stocked.load("cp", part="img", report=True)
    assert isinstance(model, ImageNet) and equal(values(model), values(parts["img"]))
    assert report.digest == stocked.push(parts["img"], "img").digest
    assert equal(stocked.state_dict("cp", part="img"), values(parts["img"]))
    assert stocked.check(parts["img"], "cp", part="img").is_equal and stocked.check("cp", "img", part="img").is_equal
    stocked.export("cp", tmp_path / "part.safetensors", part="img")
    stocked.export("img", tmp_path / "alone.safetensors")
    assert (tmp_path / "part.safetensors").read_bytes() == (tmp_path / "alone.safetensors").read_bytes()
    stocked.export("cp", tmp_path / "part.pth", part="img")
    assert equal(torch.load(tmp_path / "part.pth"), values(parts["img"]))


def test_what_is_changed_in_one_part_is_found_by_the_checks_of_it_and_of_all(stocked: Any) -> None:
    parts = stocked.load("cp")
    with torch.no_grad():
        parts["img"].projection.bias += 1
    assert stocked.check(parts["img"], "cp", part="img").differs == ("projection.bias",)
    assert stocked.check(parts, "cp").differs == ("img.projection.bias",)
    assert stocked.check(parts["point"], "cp", part="point").is_equal


def test_what_is_loaded_into_given_models_is_loaded_into_all_or_none(stocked: Any) -> None:
    given = fresh()
    report = stocked.load("cp", model=given, report=True)[1]
    assert stocked.check(given, "cp").is_equal and report.loaded == 20
    misfit = {"point": fresh()["point"], "img": ImageNet(width=5)}
    before = values(misfit["point"])
    with pytest.raises(errors.FitError):
        stocked.load("cp", model=misfit)
    assert equal(values(misfit["point"]), before)
    with pytest.raises(errors.PartsDiffer, match=r"model=.*cp:v1.*lacks 'point'.*part="):
        stocked.load("cp", model={"img": fresh()["img"]})


def test_an_instance_of_a_class_that_has_the_parts_takes_them_too(stocked: Any) -> None:
    whole = nn.ModuleDict(fresh())
    assert stocked.load("cp", model=whole) is whole and stocked.check(whole, "cp").is_equal


def test_a_job_with_one_optimizer_goes_on_as_if_it_had_never_stopped(stocked: Any) -> None:
    went_on, optimizer = trained()
    step(went_on, optimizer)
    parts = fresh()
    again = torch.optim.Adam([p for part in parts.values() for p in part.parameters()])
    assert "optimizer" in stocked.resume("cp", parts, again).restored
    step(parts, again)
    assert all(equal(values(parts[name]), values(went_on[name])) for name in parts)


def test_one_part_goes_on_with_its_share_of_the_optimizer(stocked: Any) -> None:
    pushed, optimizer = trained()
    image = fresh()["img"]
    own = torch.optim.Adam(image.parameters())
    stocked.resume("cp", image, own, part="img")
    assert equal(values(image), values(pushed["img"]))
    for name, parameter in image.named_parameters():
        there = optimizer.state[pushed["img"].get_parameter(name)]
        assert torch.equal(own.state[parameter]["exp_avg"], there["exp_avg"]) and own.state[parameter]["step"] == 1


def test_what_two_parts_share_is_one_tensor_again(hub: Any) -> None:
    words, head = Words(), Projector()
    head.fc.weight = words.embed.weight
    entry = hub.push({"words": words, "head": head}, "shared")
    loaded = hub.load("shared")
    assert loaded["head"].fc.weight is loaded["words"].embed.weight
    assert hub.check(loaded, "shared").is_equal
    head.fc.weight = nn.Parameter(words.embed.weight.detach().clone())
    apart = hub.push({"words": words, "head": head}, "shared")
    assert apart.digest == entry.digest and apart.version == 2, "the ties are another's"
    assert hub.load("shared")["head"].fc.weight is not hub.load("shared")["words"].embed.weight


def test_the_share_of_an_optimizer_is_found_where_another_part_has_the_name(hub: Any) -> None:
    words, head = Words(), Projector()
    head.fc.weight = words.embed.weight
    optimizer = torch.optim.SGD(words.parameters(), momentum=0.5)
    words.embed.weight.sum().backward()
    optimizer.step()
    hub.push({"words": words, "head": head}, "shared", optimizer=optimizer)
    alone = Projector()
    own = torch.optim.SGD(alone.parameters(), momentum=0.5)
    hub.resume("shared", alone, own, part="head")
    assert torch.equal(own.state[alone.fc.weight]["momentum_buffer"], torch.ones(7, 4))


def test_one_model_under_two_names_is_one_model_again(hub: Any) -> None:
    counting = Projector()
    hub.push({"a": counting, "b": counting}, "twice")
    loaded = hub.load("twice")
    assert loaded["a"].fc.weight is loaded["b"].fc.weight and loaded["a"].seen is loaded["b"].seen


def test_extra_states_and_what_wrappers_own_stay_with_their_part(hub: Any) -> None:
    counting, average = Counting(), AveragedModel(ImageNet())
    counting.steps = 9
    average.update_parameters(ImageNet())
    hub.push({"count": counting, "img": average}, "kept")
    assert hub.load("kept")["count"].steps == 9 and hub.load("kept", part="count").steps == 9
    again = AveragedModel(ImageNet())
    hub.load("kept", part="img", model=again)
    assert again.n_averaged == 1
    hub.load("kept", model={"count": Counting(), "img": (both := AveragedModel(ImageNet()))})
    assert both.n_averaged == 1


def test_the_names_as_saved_and_those_of_wrapped_models_are_each_part_s(hub: Any, tmp_path: Path) -> None:
    parts = fresh()
    hub.push({"point": nn.DataParallel(parts["point"]), "img": parts["img"]}, "cp")
    hub.export("cp", tmp_path / "saved.pth", format="as-saved")
    wrapped = nn.ModuleDict({"point": nn.DataParallel(parts["point"]), "img": parts["img"]})
    assert equal(torch.load(tmp_path / "saved.pth"), values(wrapped))
    hub.export("cp", tmp_path / "part.pth", format="as-saved", part="point")
    assert equal(torch.load(tmp_path / "part.pth"), values(nn.DataParallel(parts["point"])))
    hub.export("cp", tmp_path / "ddp.pth", format="ddp")
    both = nn.ModuleDict({name: nn.DataParallel(part) for name, part in parts.items()})
    assert both.load_state_dict(torch.load(tmp_path / "ddp.pth"))


def test_arguments_that_nobody_knows_are_needed_for_their_part_alone(hub: Any) -> None:
    entry = hub.push({"img": ImageNet(), "told": Telling(3)}, "cp")
    assert entry.parts[1] == ("told", "branches:Telling", None)
    assert any("part 'told'" in notice for notice in entry.notices)
    assert isinstance(hub.load("cp", part="img"), ImageNet)
    with pytest.raises(errors.InitUnknown, match="branches:Telling"):
        hub.load("cp")
    assert hub.load("cp", init={"told": {"width": 3}})["told"].fc.in_features == 3
    assert hub.load("cp", part="told", init={"width": 3}).fc.in_features == 3
    assert hub.push({"img": ImageNet(), "told": Telling(3)}, "given", init={"told": {"width": 3}}).parts[1].init == {
        "width": 3
    }
    assert isinstance(hub.load("given")["told"], Telling)


def test_weights_that_are_there_are_the_same_version_unless_other_parts_are_said(hub: Any) -> None:
    parts = fresh()
    hub.push(parts, "cp")
    assert hub.push(nn.ModuleDict(parts).state_dict(), "cp").reused
    assert not hub.push(parts, "cp", init={"img": {"width": 6}, "point": {"num_classes": 3, "width": 8}}).reused


def test_a_training_that_begins_with_one_part_checks_that_part(stocked: Any) -> None:
    task: Any = nn.ModuleDict({"backbone": stocked.load("cp", part="img"), "head": nn.Linear(8, 2)})
    confirm_loaded(task, stocked)
    task = nn.ModuleDict({"backbone": stocked.load("cp")["img"], "head": nn.Linear(8, 2)})
    assert registry.loaded_from(task["backbone"]) == ("cp:v1", stocked.get("cp").digest)
    task["backbone"].projection.reset_parameters()
    with pytest.raises(errors.WeightsDiffer, match="2 tensors changed since the load"):
        confirm_loaded(task, stocked)


def test_parts_go_where_their_version_goes(stocked: Any, tmp_path: Path) -> None:
    parts, _ = trained()
    stocked.copy("cp", tmp_path / "cp.bundle")
    there = registry.Registry(tmp_path / "there")
    there.copy(tmp_path / "cp.bundle")
    assert there.get("cp").parts == stocked.get("cp").parts
    assert there.get("cp").record_digest == stocked.get("cp").record_digest
    assert equal(there.state_dict("cp", part="img"), values(parts["img"])) and there.audit().is_clean


def test_mistakes_with_parts_end_in_a_sentence_with_a_next_step(stocked: Any) -> None:
    parts, _ = trained()
    stocked.push(parts["img"], "img")
    mistakes: list[tuple[Any, str]] = [
        (lambda: stocked.load("cp", part="image"), "cp:v1 has no part 'image': its parts are 'point', 'img'"),
        (
            lambda: stocked.state_dict("img", part="img"),
            "img:v1 has no part 'img': it holds one model; leave the part out",
        ),
        (lambda: stocked.check(parts["img"], "./x.pth", part="img"), "'./x.pth'|./x.pth has no part.*--weights"),
        (lambda: stocked.load("img", model={"img": "nets:ImageNet"}), "img:v1 holds one model; give it for"),
        (lambda: stocked.load("cp", part="img", model=parts), "the part 'img' of cp:v1 holds one model; give it for"),
        (lambda: stocked.load("cp", init={"width": 6}), "there is no part 'width'; its parts are"),
        (lambda: stocked.load("cp", init={"img": 6}), "init= of the part 'img' is .*give {'img': {"),
        (lambda: stocked.push({"a.b": parts["img"]}, "q"), "'a.b' is not a valid name of a part.*such as 'img'"),
        (lambda: stocked.push(parts, "q", init_as="dict"), "init_as= is 'dict'; where several models"),
        (
            lambda: stocked.push(parts, "q", example=torch.ones(1)),
            "an example is run by one model.*leave the example out",
        ),
        (lambda: stocked.resume("cp", {"img": parts["img"]}), "it lacks 'point'"),
    ]
    for act, sentence in mistakes:
        with pytest.raises(errors.RegistryError, match=sentence):
            act()


def test_a_part_called_as_what_every_module_has_is_refused(hub: registry.Registry) -> None:
    pushes: list[tuple[Any, Any]] = [
        ({"training": nn.Linear(2, 2), "other": nn.Linear(2, 2)}, None),
        ({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}, {"training": "a", "other": "b"}),
    ]
    for source, weights in pushes:
        with pytest.raises(errors.BadPartName, match="'training'"):
            hub.push(source, "net", weights=weights)


def test_a_live_module_beside_a_state_dict_is_not_left_out(hub: registry.Registry) -> None:
    point, image = nn.Linear(2, 2), nn.Linear(3, 3)
    for source in ({"point": image, "img": point.state_dict()}, {"states": [point.state_dict(), {"net": image}]}):
        with pytest.raises(errors.ModuleInDict, match=r"\((torch\.nn.*)\) under '.*'.*state_dict\(\)"):
            hub.push(source, "net")
    loss = nn.CrossEntropyLoss(weight=torch.ones(2))
    assert hub.push({"model": point.state_dict(), "criterion": loss}, "net").tensor_count == 2
