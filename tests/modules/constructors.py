"""Classes whose constructors do what leaving out initial values could get wrong; each says how it is to be built."""

from __future__ import annotations

import copy
import functools
import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

FAST, PLAIN, REFUSED = "fast", "plain", "refused"
ZOO: dict[str, tuple[type[nn.Module], str]] = {}
_KEPT: list[torch.Tensor] = []
_POOL = ThreadPoolExecutor(1)
_POOL.submit(int).result()


def built(how: str):
    def note(kind):
        ZOO[kind.__name__] = (kind, how)
        return kind

    return note


class Base(nn.Module):
    """A layer, whose values nothing reads, and what `more` adds."""

    fc: Any

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.more()

    def more(self) -> None: ...


# What is common, and has to be fast


@built(FAST)
class Plain(Base): ...


@built(FAST)
class Convolutional(Base):
    def more(self):
        self.net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2))
        self.norms = nn.ModuleList([nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True, track_running_stats=True)])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                assert module.bias is not None
                nn.init.zeros_(module.bias)


@built(FAST)
class Encoder(Base):
    def more(self):
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3)
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.class_token = nn.Parameter(torch.randn(1, 1, 8) * 0.02)


@built(FAST)
class Copies(Base):
    def more(self):
        self.layers = nn.ModuleList(copy.deepcopy(self.fc) for _ in range(3))
        norm = nn.BatchNorm1d(4)
        self.norms = nn.ModuleList([norm, copy.deepcopy(norm)])


@built(FAST)
class CopiedTie(Base):
    def more(self):
        self.head = nn.Linear(4, 4)
        self.head.weight = self.fc.weight
        self.twin = copy.deepcopy(nn.ModuleList([self.fc, self.head]))
        self.head.bias = copy.deepcopy(self.fc.bias)


@built(FAST)
class Recurrent(Base):
    def more(self):
        self.lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
        self.gru = nn.GRUCell(3, 4)
        for name, parameter in self.lstm.named_parameters():
            if "bias" in name:
                parameter.data[4:8].fill_(1)
            else:
                nn.init.orthogonal_(parameter)


@built(FAST)
class Embeddings(Base):
    def more(self):
        self.words = nn.Embedding(9, 4, padding_idx=0)
        self.bag = nn.EmbeddingBag(9, 4)
        self.words.weight.data.uniform_(-0.1, 0.1)
        with torch.no_grad():
            self.words.weight[0].zero_()


@built(FAST)
class Truncated(Base):
    def more(self):
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.zeros(2, 3), std=0.02))
        weight = self.fc.weight  # as timm and others did it before torch had it
        with torch.no_grad():
            weight.uniform_(-0.9, 0.9).erfinv_().mul_(0.02 * 2**0.5).add_(0.0).clamp_(-2, 2)


@built(FAST)
class DrawnThenWrapped(Base):
    def more(self):
        weight = torch.empty(4, 4)
        nn.init.xavier_uniform_(weight)
        self.weight = nn.Parameter(weight)
        self.scale = nn.Parameter(torch.rand(4).mul(2).sub(1))
        self.frozen = nn.Parameter(torch.FloatTensor(4, 2).normal_(), requires_grad=False)
        self.register_buffer("saved", torch.randn(4))


@built(FAST)
class RealBuffers(Base):
    def more(self):
        self.register_buffer("angles", torch.arange(8.0).outer(torch.linspace(0, 1, 4)).sin(), persistent=False)
        self.register_buffer("mask", torch.ones(4, 4, dtype=torch.bool).tril())
        self.table = torch.eye(4).numpy()
        self.rates = torch.linspace(0, 0.1, 5).tolist()
        self.shared = self.get_buffer("mask")[0]


@built(FAST)
class Asks(Base):
    """Questions that have the same answers without values."""

    def more(self):
        weight = self.fc.weight
        self.device, self.shape, self.kind = weight.device, weight.shape, weight.type()
        self.register_buffer("ones", torch.ones(4, device=weight.device, dtype=weight.dtype), persistent=False)
        self.register_buffer("like", torch.zeros_like(weight), persistent=False)
        self.register_buffer("fresh", weight.new_full((2,), 3.0), persistent=False)
        self.count = sum(p.numel() for p in self.parameters())
        self.on_cpu = not weight.is_cuda and not weight.is_meta
        self.to("cpu")


@built(FAST)
class Converted(Base):
    def more(self):
        self.half_width = nn.Linear(4, 4).double()
        conv: Any = nn.Conv2d(2, 3, 3)
        self.conv = conv.to(memory_format=torch.channels_last)
        self.fc.to(torch.bfloat16)


@built(FAST)
class LocalGenerator(Base):
    def more(self):
        generator = torch.Generator().manual_seed(3)
        nn.init.normal_(self.fc.weight, generator=generator)
        self.register_buffer("projection", torch.randn(4, 4, generator=generator), persistent=False)
        self.generator = generator
        self.order = torch.randperm(5, generator=generator).tolist()


@built(FAST)
class DryRun(Base):
    """Calls itself to learn a size, as networks for games do."""

    def more(self):
        with torch.no_grad():
            self.width = self.fc(torch.zeros(1, 4)).shape[1]
            state = {name: torch.zeros_like(p) for name, p in self.fc.named_parameters()}
            torch.func.functional_call(self.fc, state, (torch.zeros(1, 4),))


@built(FAST)
class Attributes(Base):
    def more(self):
        self.fc.weight.no_decay = True
        self.fc.bias.requires_grad_(False)
        self.same = [self.fc.weight]
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.again = self.fc


@built(FAST)
class OddContexts(Base):
    def more(self):
        with torch.no_grad(), torch.device("cpu"):
            self.inner = nn.Linear(4, 4)
            self.inner.weight.copy_(torch.eye(4))
            self.inner.weight[torch.tensor([0, 2])] = 0
            self.inner.weight[:, :2] *= 0.5


@built(FAST)
class Norms(Base):
    def more(self):
        self.weight_g = nn.Parameter(self.fc.weight.norm(dim=1, keepdim=True))
        self.gate = nn.Parameter(torch.cat([torch.zeros(2), torch.randn(2)]))


@built(FAST)
class GivenWeights(Base):
    """Loads a state dict itself."""

    def more(self):
        self.load_state_dict({"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)})


@built(FAST)
class Dropped(Base):
    """What is computed and thrown away stands in nobody's way, in a cycle or not."""

    def more(self):
        scale = self.fc.weight.abs().max(dim=1).values
        node: dict[str, Any] = {"scale": scale}
        node["self"] = node
        del scale, node


@built(FAST)
class Registered(Base):
    """Registers in other ways, and replaces what it registered."""

    def more(self):
        self.own: nn.Parameter
        self.register_parameter("own", nn.Parameter(torch.zeros(3)))
        self.register_parameter("none", None)
        self.listed = nn.ParameterList([torch.ones(2), nn.Parameter(torch.rand(2))])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.eye(2))})
        del self.own
        self.own = nn.Parameter(torch.ones(3))
        self.fc = nn.Linear(4, 4, dtype=torch.float64)
        self.fc.bias = None
        self.buffer = nn.Buffer(torch.arange(3.0), persistent=False)


@built(FAST)
class Nested(Base):
    def more(self):
        def layers(depth):
            return nn.ModuleDict({"x": layers(depth - 1), "y": Plain()}) if depth else nn.Identity()

        with torch.no_grad():
            self.tree = layers(4)
            for parameter in self.tree.parameters():
                parameter.mul_(0.5).add_(parameter)
        self.shared = self.tree["y"]


@built(FAST)
class Pruned(Base):
    """Makes a smaller layer out of a larger one."""

    def more(self):
        small = nn.Linear(2, 2)
        small.weight.data = self.fc.weight.data[:2, :2].clone()
        small.bias.data.copy_(self.fc.bias.data[:2])
        self.fc = small


@built(FAST)
class DefaultType(Base):
    def __init__(self):
        torch.set_default_dtype(torch.float64)
        try:
            super().__init__()
        finally:
            torch.set_default_dtype(torch.float32)


@built(FAST)
class Quantizable(Base):
    def more(self):
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()


@built(FAST)
class Expanded(Base):
    def more(self):
        rows = torch.empty(1, 4).normal_()
        self.rows = nn.Parameter(rows.expand(3, 4).contiguous())
        self.columns = nn.Parameter(torch.empty(4, 3).t())
        self.stacked = nn.Parameter(torch.stack([self.fc.bias.detach(), torch.zeros(4)]))


@built(FAST)
class Compiled(Base):
    def more(self):
        self.fc.forward = torch.compiler.disable(self.fc.forward)
        self.extra = nn.utils.rnn.PackedSequence(torch.zeros(2, 2), torch.tensor([1, 1]))


# What needs values, and has to be built plainly


@built(PLAIN)
class ItemReader(Base):
    def more(self):
        nn.init.constant_(self.fc.weight, 2.0)
        self.scale = self.fc.weight.mean().item()


@built(PLAIN)
class SilentReader(Base):
    def more(self):
        nn.init.constant_(self.fc.weight, 2.0)
        try:
            self.scale = float(self.fc.weight.sum())
        except BaseException:
            self.scale = 1.0


@built(PLAIN)
class NumpyReader(Base):
    def more(self):
        nn.init.constant_(self.fc.bias, 2.0)
        try:
            self.values = self.fc.bias.detach().numpy().copy()
        except Exception:
            self.values = np.zeros(4)


@built(PLAIN)
class ListReader(Base):
    def more(self):
        nn.init.constant_(self.fc.bias, 2.0)
        self.values = self.fc.bias.tolist()


@built(PLAIN)
class StorageReader(Base):
    def more(self):
        nn.init.zeros_(self.fc.bias)
        self.first = bytes(self.fc.bias.detach().untyped_storage())


@built(PLAIN)
class Saver(Base):
    def more(self):
        for parameter in self.parameters():
            nn.init.ones_(parameter)
        stream = io.BytesIO()
        torch.save(self.fc.state_dict(), stream)
        self.target = [torch.load(io.BytesIO(stream.getvalue()))]


@built(PLAIN)
class PrintsItself(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        self.text = str(self.fc.bias)


@built(PLAIN)
class Branches(Base):
    def more(self):
        nn.init.constant_(self.fc.bias, -1.0)
        self.negative = bool((self.fc.bias < 0).all())
        if torch.equal(self.fc.bias, torch.full((4,), -1.0)):
            self.register_buffer("extra", torch.ones(2), persistent=False)


@built(PLAIN)
class SizeOfData(Base):
    def more(self):
        nn.init.eye_(self.fc.weight)
        self.register_buffer("where", self.fc.weight.nonzero(), persistent=False)


@built(PLAIN)
class InPlaceBuffer(Base):
    def more(self):
        nn.init.constant_(self.fc.bias, -4.6)
        self.register_buffer("prior", torch.zeros(4), persistent=False)
        self.get_buffer("prior").add_(self.fc.bias.detach(), alpha=2)


@built(PLAIN)
class OutBuffer(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        self.prior = torch.zeros(4)
        torch.mul(self.fc.bias.detach(), 3, out=self.prior)


@built(PLAIN)
class Spaced(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        self.register_buffer("steps", torch.linspace(0, 1, 3) * self.fc.bias.detach().mean(), persistent=False)


@built(PLAIN)
class Closure(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        bias = self.fc.bias.detach() * 2
        self.shift = lambda x: x + bias
        self.partial = functools.partial(torch.add, bias)


@built(PLAIN)
class KeptByGlobal(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        _KEPT.append(self.fc.bias.detach())


@built(PLAIN)
class ViewOfParameter(Base):
    def more(self):
        self.first = [self.fc.weight.data[0]]
        nn.init.ones_(self.fc.weight)


@built(FAST)
class NumpyMemory(Base):
    """A parameter that numpy sees has values, and keeps its memory."""

    def more(self):
        self.values = np.ones((2, 2), dtype=np.float32)
        self.weight = nn.Parameter(torch.from_numpy(self.values))


@built(FAST)
class NumpyBuffer(Base):
    """A buffer that numpy sees keeps its memory, and what is loaded is seen there, too."""

    def more(self):
        self.register_buffer("seen", torch.ones(3))
        self.values = self.get_buffer("seen").numpy()


@built(PLAIN)
class SharedData(Base):
    def more(self):
        self.other = nn.Linear(4, 4)
        self.other.weight.data = self.fc.weight.data


@built(PLAIN)
class SharedTranspose(Base):
    def more(self):
        self.other = nn.Linear(4, 4, bias=False)
        self.other.weight = nn.Parameter(self.fc.weight.t())


@built(PLAIN)
class GradientHook(Base):
    def more(self):
        self.fc.weight.register_hook(lambda gradient: gradient * 0)


@built(PLAIN)
class AccumulationHook(Base):
    def more(self):
        self.fc.weight.register_post_accumulate_grad_hook(lambda p: print(end=""))


@built(PLAIN)
class AccumulatorHook(Base):
    def more(self):
        self.node = self.fc.weight.expand_as(self.fc.weight).grad_fn.next_functions[0][0]
        self.node.register_hook(lambda *_: None)


@built(PLAIN)
class HasGradient(Base):
    def more(self):
        self.fc.weight.grad = torch.ones(4, 4)


@built(PLAIN)
class Threaded(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        self.register_buffer("twice", torch.zeros(4), persistent=False)

        def fill():
            with torch.no_grad():
                self.get_buffer("twice").copy_(self.fc.bias * 2)

        thread = threading.Thread(target=fill)
        thread.start()
        thread.join()


@built(PLAIN)
class Pooled(Base):
    def more(self):
        nn.init.ones_(self.fc.bias)
        self.twice = _POOL.submit(lambda: self.fc.bias.detach() * 2).result()


@built(PLAIN)
class Forked(Base):
    def more(self):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.register_buffer("noise", torch.randn(4), persistent=False)


@built(PLAIN)
class Seeded(Base):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__()

    def more(self):
        self.projection = torch.randn(4, 4)


@built(PLAIN)
class SeededElsewhere(Base):
    def more(self):
        np.random.seed(1)
        random.seed(2)
        self.order, self.noise = random.sample(range(9), 4), np.random.randn(3)


@built(PLAIN)
class RandomShapes(Base):
    def __init__(self):
        torch.manual_seed(4)
        super().__init__()

    def more(self):
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(int(torch.randint(1, 4, ()))))


@built(PLAIN)
class WeightNormed(Base):
    def more(self):
        self.normed = parametrizations.weight_norm(nn.Linear(4, 4))
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 4))


@built(PLAIN)
class OldNormed(Base):
    def more(self):
        self.normed = nn.utils.weight_norm(nn.Linear(4, 4))
        self.spectral = nn.utils.spectral_norm(nn.Linear(4, 4))
        prune.l1_unstructured(self.fc, "weight", 0.5)


@built(PLAIN)
class OrthogonalMap(Base):
    def more(self):
        nn.init.eye_(self.fc.weight)
        parametrizations.orthogonal(self.fc)


@built(PLAIN)
class StatisticsOfWeights(Base):
    """A batch norm that runs on computed values moves its statistics, which are not saved here."""

    def more(self):
        nn.init.ones_(self.fc.weight)
        nn.init.ones_(self.fc.bias)
        self.register_buffer("mean", torch.zeros(4), persistent=False)
        nn.functional.batch_norm(self.fc(torch.ones(3, 4)), self.get_buffer("mean"), torch.ones(4), training=True)


@built(PLAIN)
class GivesMemoryAway(Base):
    def more(self):
        kept = torch.zeros(4)
        self.values = kept.numpy()
        with torch.no_grad():
            nn.init.ones_(self.fc.bias)
            kept.copy_(self.fc.bias)


@built(PLAIN)
class CatchesShapes(Base):
    """Finds out what fits by trying."""

    def more(self):
        self.fits = True
        try:
            self.fc.weight.data.copy_(torch.zeros(3, 5))
        except RuntimeError:
            self.fits = False


@built(PLAIN)
class Backward(Base):
    """Has run once, and keeps what that gave."""

    def more(self):
        nn.init.ones_(self.fc.weight)
        nn.init.ones_(self.fc.bias)
        self.fc(torch.ones(1, 4)).sum().backward()


@built(PLAIN)
class SharedMemory(Base):
    def more(self):
        self.share_memory()


@built(PLAIN)
class Scripted(Base):
    def more(self):
        self.scripted = torch.jit.script(nn.Linear(4, 4))


# What is another value every time, and in no version


@built(REFUSED)
class RandomTarget(Base):
    def more(self):
        self.target = [copy.deepcopy(self.fc)]


@built(REFUSED)
class RandomProjection(Base):
    def more(self):
        self.register_buffer("projection", torch.randn(4, 4) * 2, persistent=False)


@built(REFUSED)
class RandomScale(Base):
    def more(self):
        self.scale = self.fc.weight.std().item()


@built(REFUSED)
class RandomInClosure(Base):
    def more(self):
        noise = torch.rand(3)
        self.shift = lambda x: x + noise


@built(REFUSED)
class RandomArray(Base):
    def more(self):
        self.order = np.random.permutation(50)


CACHE: dict[int, torch.Tensor] = {}


def cached_projection(width: int) -> torch.Tensor:
    if width not in CACHE:
        CACHE[width] = torch.randn(width, width)
    return CACHE[width]


class CachedProjection(Base):
    def more(self):
        self.projection = cached_projection(4)


@functools.cache
def cached_table(width: int) -> torch.Tensor:
    return torch.arange(float(width)).cos()


@built(FAST)
class CachedTable(Base):
    def more(self):
        self.register_buffer("table", cached_table(4), persistent=False)


@built(FAST)
class LateImport(Base):
    def more(self):
        import imported_late

        self.scale = imported_late.SCALE


GLOBAL = nn.Embedding(3, 4)


@built(FAST)
class UsesGlobal(Base):
    """What was there before keeps its memory, whatever is constructed with it."""

    def more(self):
        self.embedding = nn.Embedding(3, 4)
        self.embedding.weight = GLOBAL.weight


@built(PLAIN)
class StoppedWithGlobal(UsesGlobal):
    def more(self):
        super().more()
        nn.init.constant_(self.fc.bias, 3.0)
        self.register_buffer("factor", self.fc.bias.detach() * 2, persistent=False)


@built(FAST)
class Intact(Base):
    """Parameters that nothing was written into have their values, which may be read."""

    def more(self):
        self.scale = nn.Parameter(torch.full((4,), 3.0))
        self.kept = [self.scale.detach()]
        self.log = nn.Parameter(self.scale.detach().log())
        self.number = self.scale.sum().item()


class NeedsNamedHead(Base):
    def more(self):
        self.head = nn.Linear(4, 3)
        nn.init.normal_(self.head.weight)


class ReadingNamedHead(NeedsNamedHead):
    """The same, built plainly."""

    def more(self):
        super().more()
        self.head.weight.mean().item()


class OnMeta(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.device("meta"):
            self.fc = nn.Linear(4, 4)
            self.register_buffer("angles", torch.ones(4), persistent=False)


class Slow(Base):
    """Constructs for a while, so that others can do so meanwhile."""

    def more(self):
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(200))
