"""The next step after pre-training: what is named keeps the module's own values where the version has another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from invocation import run
from nets import PointNet
from ranks import Ranks
from torch import nn

import registry
from registry import errors
from registry.tensors.memory import same_bits


class Language(nn.Module):
    """Its output layer is tied to its embedding, and a buffer has a place for each token."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, tokens, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("counts", torch.zeros(tokens))


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_a_head_of_another_shape_keeps_its_values_and_the_rest_is_loaded(hub: registry.Registry) -> None:
    source, model = PointNet(), PointNet(num_classes=9)
    hub.push(source, "net")
    before, objects = values(model), list(model.parameters())

    _, report = hub.load("net", model=model, allow_shape=["head.*"], report=True)

    stored = values(source)
    for name, tensor in values(model).items():
        assert same_bits(tensor, (before if name.startswith("head.") else stored)[name]), name
    assert all(one is other for one, other in zip(model.parameters(), objects, strict=True))
    assert set(report.reshaped) == {"head.weight", "head.bias"}
    assert report.reshaped["head.bias"] == ((5,), (9,)) and "head.bias (5 in the entry, 9 here)" in str(report)
    assert report.loaded == len(stored) - 2


def test_the_error_names_the_flag_and_only_what_is_named_may_differ(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")
    model = PointNet(num_classes=9)
    before = values(model)

    with pytest.raises(errors.ShapeMismatch, match=r"allow_shape=\['head\.\*'\] \(--allow-shape\)"):
        hub.load("net", model=model)
    with pytest.raises(errors.ShapeMismatch, match=r"head\.weight"):
        hub.load("net", model=model, allow_shape=["head.bias"], allow_missing=["*"], allow_unexpected=["*"])

    assert all(same_bits(tensor, before[name]) for name, tensor in values(model).items())


def test_what_is_named_and_has_the_same_shape_is_loaded(hub: registry.Registry) -> None:
    source, model = PointNet(), PointNet()
    hub.push(source, "net")

    _, report = hub.load("net", model=model, allow_shape=["*"], report=True)

    assert report.reshaped == {}
    assert all(same_bits(tensor, values(model)[name]) for name, tensor in values(source).items())


def test_a_built_model_has_real_initial_values_where_the_shape_differs(hub: registry.Registry) -> None:
    source = PointNet()
    torch.save(source.state_dict(), hub.home.parent / "net.pth")
    hub.push(hub.home.parent / "net.pth", "net", model="nets:PointNet")

    model, report = hub.load("net", init={"num_classes": 9}, allow_shape=["head.*"], report=True)

    weight = model.get_parameter("head.weight")
    assert weight.shape[0] == 9 and not weight.is_meta and weight.std() > 0
    assert report.built == "plain"
    assert all(same_bits(t, values(model)[n]) for n, t in values(source).items() if not n.startswith("head."))


def test_rows_of_a_tied_embedding_stay_tied_whichever_name_is_given(hub: registry.Registry) -> None:
    hub.push(Language(10), "net")
    for pattern in ("embedding.*", "head.weight"):
        model = Language(12)
        before = values(model)

        _, report = hub.load("net", model=model, allow_shape=[pattern, "counts"], report=True)

        assert model.head.weight is model.embedding.weight
        assert same_bits(values(model)["embedding.weight"], before["embedding.weight"])
        assert set(report.reshaped) == {"embedding.weight", "head.weight", "counts"}


def test_a_cast_applies_to_what_keeps_its_values_too(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")

    model = hub.load("net", model=PointNet(num_classes=9), allow_shape=["head.*"], cast=torch.bfloat16)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


class OwnLoading(nn.Linear):
    """A class with a loading of its own keeps its values as well."""

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)


def test_a_class_with_its_own_loading_keeps_what_has_another_shape(hub: registry.Registry) -> None:
    hub.push(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)), "net")
    model = nn.Sequential(nn.Linear(2, 2), OwnLoading(2, 7))
    before = values(model)

    hub.load("net", model=model, allow_shape=["1.*"])

    assert same_bits(values(model)["1.weight"], before["1.weight"])


class SharedMemory(nn.Module):
    """Two parameters see one memory, which is no tie that the state dict shows; somebody loads it in a way of his."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 4)
        self.head = OwnLoading(4, 12, bias=False)
        self.head.weight = nn.Parameter(self.embedding.weight.detach())


@pytest.mark.parametrize(("tokens", "allowed"), [(10, {"allow_shape": "embedding.*"}), (0, {"allow_missing": "emb*"})])
def test_what_keeps_its_own_values_does_not_get_those_of_a_twin(
    hub: registry.Registry, tokens: int, allowed: dict[str, Any]
) -> None:
    entry = {"embedding.weight": torch.ones(tokens, 4), "head.weight": torch.ones(12, 4)}
    hub.push({name: tensor for name, tensor in entry.items() if tensor.numel()}, "net")
    model = SharedMemory()
    before = values(model)

    with pytest.raises(errors.UntouchedTensor, match=r"embedding\.weight"):
        hub.load("net", model=model, **allowed)

    assert all(same_bits(tensor, before[name]) for name, tensor in values(model).items())


class ThreeNames(Language):
    """One tensor under three names, and a fourth under its own."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.second = nn.Linear(4, tokens, bias=False)
        self.second.weight = self.embedding.weight


@pytest.mark.parametrize("pattern", ["embedding.*", "head.*", "second.*"])
def test_every_name_of_a_tie_is_reported_whichever_is_allowed(hub: registry.Registry, pattern: str) -> None:
    source = ThreeNames(10)
    names = ("head.weight", "body.weight", "body.bias")
    hub.push({name: tensor for name, tensor in source.state_dict().items() if name in names}, "net")

    _, report = hub.load("net", model=ThreeNames(12), allow_shape=[pattern], allow_missing="counts", report=True)

    assert set(report.reshaped) == {"embedding.weight", "head.weight", "second.weight"}
    assert all(name in str(report) for name in report.reshaped)


def test_the_command_line_takes_the_same_pattern(hub: registry.Registry, tmp_path: Path) -> None:
    torch.save(PointNet().state_dict(), tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth", "net", model="nets:PointNet")
    command = ["load", "net", "--init", "num_classes=9"]

    refused = run(*command, home=hub.address, expect=1)
    said = run(*command, "--allow-shape", "head.*", home=hub.address)

    assert "--allow-shape" in refused.stderr
    assert "head.bias (5 in the entry, 9 here)" in said.stdout


def load_on_both(rank: int) -> None:
    for own in (True, False):
        torch.manual_seed(rank)
        mine = {"model": PointNet(num_classes=9)} if own else {"init": {"num_classes": 9}}
        model = registry.load("net", ddp=True, rank=rank, allow_shape=["head.*"], **mine)
        flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        both = [torch.empty_like(flat) for _ in range(2)]
        dist.all_gather(both, flat)
        assert torch.equal(both[0], both[1])


def test_all_ranks_end_with_the_same_values_of_what_was_not_loaded(
    ranks: Ranks, hub: registry.Registry, tmp_path: Path
) -> None:
    torch.save(PointNet().state_dict(), tmp_path / "net.pth")
    hub.push(tmp_path / "net.pth", "net", model="nets:PointNet")
    ranks.run(load_on_both)


def load_where_one_refuses(rank: int) -> None:
    model = PointNet(num_classes=5 if rank == 0 else 9)
    before = values(model)
    with pytest.raises(errors.ShapeMismatch if rank else errors.OtherRankFailed):
        registry.load("net", ddp=True, rank=rank, model=model)
    assert all(same_bits(tensor, before[name]) for name, tensor in values(model).items())
    assert registry.loaded_from(model) is None


def test_a_rank_whose_model_fits_is_left_as_it_was_when_another_refuses(ranks: Ranks, hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")
    ranks.run(load_where_one_refuses)


def test_patterns_that_are_of_no_name_are_named_and_the_others_are_not(hub: registry.Registry) -> None:
    hub.push(PointNet(), "net")

    _, report = hub.load(
        "net",
        model=PointNet(),
        allow_shape=["head"],
        allow_missing=["hed.*", "head.*"],
        allow_unexpected=["aux.*"],
        report=True,
    )

    assert report.notices == (
        "allow_missing 'hed.*' matches no tensor of either side",
        "allow_unexpected 'aux.*' matches no tensor of either side",
        "allow_shape 'head' matches no tensor of either side; for all below it, write 'head.*'",
    )


def test_what_keeps_its_initial_value_is_counted_where_the_class_is_built(
    hub: registry.Registry, tmp_path: Path
) -> None:
    hub.push(PointNet(), "net", model="nets:PointNet", init={"num_classes": 5})
    said = run(
        *["load", "net", "--model", "nets:PointNet", "--init", "num_classes=9", "--allow-shape", "head.*"],
        home=hub.address,
    ).stdout
    assert "built with its initial values: 2 tensors keep what the class gave" in said
    assert "lacks" not in said
