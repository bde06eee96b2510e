"""Real processes over gloo: equal weights, one answer, and a failure on one rank raises on all."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch.distributed as dist
from abilities import sharding_on_the_cpu
from ranks import Ranks

import registry
from registry import errors
from registry.modules import parallel
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit
from registry.ranks import collective as talk

CPU = torch.device("cpu")
LIMIT = 30.0


def state_of(name: str) -> dict[str, torch.Tensor]:
    import sample_models

    module = getattr(sample_models, name)()
    generator = torch.Generator().manual_seed(3)
    state = {n: torch.rand(t.shape, generator=generator).to(t.dtype) for n, t in module.state_dict().items()}
    return {**state, "head.weight": state["embedding.weight"]} if "head.weight" in state else state


def agreeing(rank: int) -> None:
    assert talk.from_rank_zero("resolving", lambda: f"v{rank}", LIMIT) == "v0"
    assert talk.gathered("the digest", f"abc{rank}", LIMIT) == ["abc0", "abc1"]
    assert talk.together("loading", lambda: rank, LIMIT) == rank
    with pytest.raises(errors.RegistryError if rank == 1 else errors.OtherRankFailed, match="disk is gone"):
        talk.together("loading", lambda: _fail_on(1), LIMIT)
    with pytest.raises(errors.RegistryError if rank == 0 else errors.OtherRankFailed, match="disk is gone"):
        talk.from_rank_zero("resolving", lambda: _fail_on(0), LIMIT)
    with pytest.raises(errors.WrongRank, match=f"this process is rank {rank}"):
        talk.current_rank(rank + 1)
    assert talk.current_rank() == talk.current_rank(rank) == rank


def _fail_on(rank: int) -> None:
    if dist.get_rank() == rank:
        raise errors.RegistryError("the disk is gone")


def test_all_ranks_have_one_answer_or_all_raise(ranks: Ranks) -> None:
    ranks.run(agreeing)


def silent(rank: int) -> None:
    talk.together("warming up", lambda: None, 2.0)
    if rank == 1:
        time.sleep(4)
        return
    start = time.monotonic()
    with pytest.raises(errors.RankUnreachable, match="not every rank answered"):
        talk.together("loading", lambda: None, 2.0)
    assert time.monotonic() - start < 4


def test_nobody_waits_longer_than_the_limit_for_a_silent_rank(ranks: Ranks) -> None:
    ranks.run(silent)


def loading_alone(rank: int) -> None:
    if rank == 0:
        time.sleep(4.0)
        return
    model = torch.nn.Linear(2, 2)
    before = model.weight.tolist()
    with pytest.raises(errors.RankUnreachable, match="not every rank answered within 1 s"):
        registry.load("net", model=model, ddp=True, timeout=1.0)
    assert model.weight.tolist() == before


def test_a_load_on_one_rank_alone_is_given_up_after_its_timeout(ranks: Ranks, hub: registry.Registry) -> None:
    hub.push(torch.nn.Linear(2, 2), "net")
    ranks.run(loading_alone)


def training(rank: int) -> None:
    import sample_models

    state = state_of("ConvNet")
    built = build(ModelSpec("sample_models:ConvNet"))
    fit(built, state)
    torch.manual_seed(rank)
    wrapped = parallel.wrap_ddp(built.module, talk.rank_device(rank))
    wrapped(sample_models.ConvNet.example() + rank).sum().backward()

    assert wrapped.training and type(wrapped) is torch.nn.parallel.DistributedDataParallel
    mine = torch.cat(
        [p.grad.flatten() for p in wrapped.parameters() if p.grad is not None]
        + [p.detach().flatten() for p in wrapped.parameters()]
    )
    gathered = [torch.empty_like(mine) for _ in range(2)]
    dist.all_gather(gathered, mine)
    assert torch.equal(gathered[0], gathered[1])


def initializing(rank: int) -> None:
    state = {n: t for n, t in state_of("ConvNet").items() if not n.startswith("up.")}
    torch.manual_seed(rank)
    built = build(ModelSpec("sample_models:ConvNet"))
    report = fit(built, state, allow_missing=["up.*"])
    wrapped = parallel.wrap_ddp(built.module, CPU, synchronize=bool(report.missing))
    head = wrapped.get_parameter("module.up.weight").detach()
    heads = [torch.empty_like(head) for _ in range(2)]
    dist.all_gather(heads, head)
    assert torch.equal(heads[0], heads[1])


def freezing(rank: int) -> None:
    module = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(errors.CannotWrap, match="ddp=True"):
        parallel.wrap_ddp(module, CPU)


def under_ddp(rank: int) -> None:
    training(rank)
    initializing(rank)
    freezing(rank)


def test_ddp_ranks_have_equal_weights_gradients_and_kept_initial_values(ranks: Ranks) -> None:
    ranks.run(under_ddp)


def sharding(rank: int) -> None:
    import sample_models
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state = state_of("TiedTransformer")
    ordinary = sample_models.TiedTransformer()
    ordinary.load_state_dict(state)
    for fast in (True, False):
        built = build(ModelSpec("sample_models:TiedTransformer"), fast=fast)
        parallel.shard(built, CPU)
        fit(built, state, ties=[("embedding.weight", "head.weight")])
        shards: list[Any] = [*built.module.parameters()]
        held = sum(shard.to_local().numel() for shard in shards)
        total = sum(p.numel() for p in ordinary.parameters())
        assert held <= total * 0.6
        out = built.module(sample_models.TiedTransformer.example())
        torch.testing.assert_close(out, ordinary(sample_models.TiedTransformer.example()))
        out.sum().backward()
        full: Any = get_model_state_dict(built.module, options=StateDictOptions(full_state_dict=True))
        assert rank != 0 or all(torch.equal(full[n], state[n]) for n in state)

        other = {n: t + 1 for n, t in state.items()}
        fit(built.module, other)
        full = get_model_state_dict(built.module, options=StateDictOptions(full_state_dict=True))
        assert rank != 0 or all(torch.equal(full[n], other[n]) for n in state)


def sharding_unevenly(rank: int) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state = state_of("ConvNet")
    built = build(ModelSpec("sample_models:ConvNet"))
    parallel.shard(built, CPU, cast=torch.bfloat16)
    fit(built, state, cast=torch.bfloat16)
    full: Any = get_model_state_dict(built.module, options=StateDictOptions(full_state_dict=True))
    assert rank != 0 or all(
        torch.equal(full[n], t.bfloat16() if t.is_floating_point() else t) for n, t in state.items()
    )


def under_fsdp(rank: int) -> None:
    sharding(rank)
    sharding_unevenly(rank)


@sharding_on_the_cpu
def test_fsdp_ranks_hold_their_part_and_compute_the_same(ranks: Ranks) -> None:
    ranks.run(under_fsdp, world=3)


def test_without_a_process_group_the_missing_call_is_named():
    with pytest.raises(errors.NoProcessGroup, match=r"torch\.distributed\.init_process_group"):
        talk.require_process_group("ddp=True")


def test_a_rank_that_counts_through_nodes_has_a_device_of_its_own_node(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert talk.rank_device(9) == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert talk.rank_device(9) == torch.device("cuda", 3)
