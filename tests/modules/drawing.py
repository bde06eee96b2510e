"""Classes that draw and keep what they drew outside of the state dict, each in another way; and some that do not."""

from __future__ import annotations

import array
import atexit
import collections
import contextvars
import copy
import ctypes
import functools
import io
import itertools
import mmap
import operator
import os
import random
import secrets
import tempfile
import time
import types
import uuid
import weakref
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

DRAWN: dict[str, tuple[type[nn.Module], str]] = {}
"""With the pattern that allows what is random."""
CONSTANT: dict[str, type[nn.Module]] = {}


def draws(pattern: str):
    def note(kind):
        DRAWN[kind.__name__] = (kind, pattern)
        return kind

    return note


def constant(kind):
    CONSTANT[kind.__name__] = kind
    return kind


class Base(nn.Module):
    fc: Any

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.more()

    def more(self) -> None: ...


@draws("masked*")
class Masked(Base):
    def more(self):
        self.masked = np.ma.masked_array(np.random.rand(4), [False, False, True, False])


@draws("content*")
class InMemoryFile(Base):
    def more(self):
        self.content = io.BytesIO(torch.rand(4).numpy().tobytes())


@draws("empty")
class AsAShape(Base):
    def more(self):
        self.empty = np.zeros((int(torch.randint(1000, ())), 0))


@draws("content*")
class InMappedMemory(Base):
    def more(self):
        self.content = mmap.mmap(-1, 16)
        self.content[:] = torch.rand(4).numpy().tobytes()


@draws("noise")
class StateOfTheDefaultGenerator(Base):
    def more(self):
        generator = torch.Generator()
        generator.set_state(torch.default_generator.get_state())
        self.noise = torch.randn(4, generator=generator)


@draws("failure*")
class InAnError(Base):
    def more(self):
        self.failure = ValueError(torch.rand(4))


@draws("*")
class InAStaticMethod(Base):
    def more(self):
        drawn = torch.rand(4)
        self.of = staticmethod(lambda x: x * drawn)


@draws("order")
class WholeNumbers(Base):
    def more(self):
        self.order = torch.randperm(40).tolist()


@draws("order")
class Sampled(Base):
    def more(self):
        self.order = tuple(random.sample(range(1000), 9))


@draws("signs")
class SignsOfWeights(Base):
    def more(self):
        self.signs = [bool(w > 0) for w in self.fc.weight.flatten()]


@draws("seed")
class OneNumber(Base):
    def more(self):
        self.seed = int(torch.randint(1 << 40, ()))


@draws("code")
class Bytes(Base):
    def more(self):
        self.code = self.fc.weight.detach().numpy().tobytes()


@draws("code")
class ByteArray(Base):
    def more(self):
        self.code = bytearray(np.random.bytes(8))


@draws("code")
class ArrayOfC(Base):
    def more(self):
        self.code = (ctypes.c_int * 5)(*torch.randperm(5000)[:5].tolist())


@draws("code")
class ArrayOfPython(Base):
    def more(self):
        self.code = array.array("d", torch.rand(3).tolist())


@draws("text")
class Text(Base):
    def more(self):
        self.text = str(self.fc.weight.sum())


@draws("sizes*")
class Nested(Base):
    def more(self):
        self.sizes = {"a": [(1, {2: random.sample(range(1000), 9)})]}


@draws("names*")
class Keys(Base):
    def more(self):
        self.names = dict.fromkeys(torch.randperm(30).tolist(), "x")


@draws("names*")
class TextKeys(Base):
    def more(self):
        self.names = {str(n): n for n in torch.randperm(30).tolist()}


@draws("chosen")
class ASet(Base):
    def more(self):
        self.chosen = set(torch.randperm(10**6)[:5].tolist())


@draws("shape")
class AShape(Base):
    def more(self):
        self.shape = torch.Size(torch.randint(1, 1000, (4,)).tolist())


@draws("noise*")
class Iterator(Base):
    def more(self):
        self.noise = iter(torch.rand(5).tolist())


@draws("noise*")
class Cycle(Base):
    def more(self):
        self.noise = itertools.cycle(torch.rand(5).tolist())


@draws("noise*")
class Generating(Base):
    def more(self):
        self.noise = (x * 2 for x in torch.rand(5).tolist())


@draws("noise*")
class Mapped(Base):
    def more(self):
        draws: Any = zip(torch.rand(5).tolist(), range(5), strict=True)
        self.noise = map(abs, draws)


@draws("noise*")
class Ranged(Base):
    def more(self):
        self.noise = iter(range(int(torch.randint(1 << 40, ()))))


@draws("pick*")
class BoundMethod(Base):
    def more(self):
        self.pick = torch.randperm(50).tolist().__getitem__


@draws("pick*")
class InAPartial(Base):
    def more(self):
        self.pick = functools.partial(max, torch.randperm(50).tolist())


@draws("pick*")
class InAPartialByName(Base):
    def more(self):
        self.pick = functools.partial(sorted, key=torch.randperm(50).tolist().index)


@draws("shift*")
class InADefault(Base):
    def more(self):
        drawn = torch.randperm(50).tolist()
        self.shift = lambda x, order=drawn: x[order]


@draws("shift*")
class InADefaultByName(Base):
    def more(self):
        drawn = torch.randperm(50).tolist()
        self.shift = lambda x, *, order=drawn: x[order]


@draws("shift*")
class OnAFunction(Base):
    def more(self):
        def shift(x: Any) -> Any:
            return x

        noted: Any = shift
        self.shift = noted
        noted.order = torch.randperm(50).tolist()


@draws("probe.grad")
class InAGradient(Base):
    def more(self):
        self.probe = torch.zeros(3, requires_grad=True)
        self.probe.grad = torch.rand(3)


INNER: list[int] = []


@draws("*")
class InAGlobalOfAnInnerFunction(Base):
    def more(self):
        globals()["INNER"] = torch.randperm(50).tolist()  # so that only the inner function names it
        self.shift = lambda x: next(INNER for _ in range(2))


@draws("memory*")
class InAStorage(Base):
    def more(self):
        self.memory = torch.rand(4).untyped_storage()


@draws("memory*")
class InATypedStorage(Base):
    def more(self):
        self.memory = torch.rand(4).storage()


@draws("table*")
class InASetOfObjects(Base):
    def more(self):
        self.table = {HashedAlike(value) for value in torch.rand(5).tolist()}


class HashedAlike:
    def __init__(self, value):
        self.value = value


@draws("table*")
class InAnArrayOfObjects(Base):
    def more(self):
        self.table = np.array([torch.randperm(50).tolist(), None], dtype=object)


@draws("pick*")
class InAGetter(Base):
    def more(self):
        self.pick = operator.itemgetter(int(torch.randint(1 << 40, ())))


@draws("table*")
class InAnObject(Base):
    def more(self):
        self.table = collections.UserDict(order=torch.randperm(50).tolist())


@draws("failure.order")
class OnAnError(Base):
    def more(self):
        failure: Any = ValueError("nothing")
        failure.order = torch.randperm(50).tolist()
        self.failure = failure


@draws("pick*")
class InThePartialsFunction(Base):
    def more(self):
        self.pick = functools.partial(torch.randperm(50).tolist().__getitem__, 3)


class Picking:
    def __init__(self, order):
        self.order = order

    def pick(self):
        return self.order


@draws("pick*")
class InAMethodsObject(Base):
    def more(self):
        self.pick = Picking(torch.randperm(50).tolist()).pick


@draws("pick*")
class InAMethodsFunction(Base):
    def more(self):
        drawn = torch.randperm(50).tolist()
        self.pick = types.MethodType(lambda self, order=drawn: order, "object")


class Naming:
    """A hook of somebody else's, that computes nothing."""

    name = "order"

    def __call__(self, module, args):
        return None


@draws("order")
class BesideAHook(Base):
    def more(self):
        self.order = torch.randperm(50).tolist()
        self.register_forward_pre_hook(Naming())


@draws("pick*")
class InACache(Base):
    def more(self):
        self.pick = functools.lru_cache(random.random)
        self.pick()


@draws("pick*")
class InAnUnboundedCache(Base):
    def more(self):
        self.pick = functools.lru_cache(maxsize=None)(random.random)
        self.pick()


SCALE: contextvars.ContextVar[torch.Tensor] = contextvars.ContextVar("scale")


@draws("scale*")
class InAContext(Base):
    def more(self):
        self.scale = SCALE
        self.scale.set(torch.rand(3))


class Held:
    def __init__(self, value):
        self.value = value


def elsewhere(value):
    """Hold a value where no name of a model's class leads to."""
    atexit.register(id, value)
    return value


@draws("held*")
class InAWeakReference(Base):
    def more(self):
        self.held = weakref.ref(elsewhere(Held(torch.randperm(50).tolist())))


@draws("held*")
class InAWeakTable(Base):
    def more(self):
        self.held = weakref.WeakValueDictionary(a=elsewhere(Held(torch.randperm(50).tolist())))


class Slotted:
    __slots__ = ("order",)
    order: list[int]


class SlottedByText(Slotted):
    __slots__ = "noise"
    noise: list[int]


@draws("held.order")
class InSlots(Base):
    def more(self):
        self.held = SlottedByText()
        self.held.order = torch.randperm(50).tolist()


@draws("held.noise")
class InASlotOfItsOwn(Base):
    def more(self):
        self.held = SlottedByText()
        self.held.noise = torch.randperm(50).tolist()


@draws("act")
class ChosenLayer(Base):
    def more(self):
        self.act = [nn.Sigmoid, nn.Tanh, nn.Softsign, nn.SiLU, nn.Mish, nn.GELU][int(self.fc.weight[0, 0] * 1e6) % 6]()
        self.order = [[nn.Sigmoid, nn.Tanh][n % 2]() for n in torch.randperm(12).tolist()]


DRAWN["ChosenLayer"] = (ChosenLayer, "[ao]*")


@draws("fs*")
class ChosenFunctions(Base):
    def more(self):
        self.fs = [[torch.relu, torch.tanh, lambda x: x, lambda x: -x][n % 4] for n in torch.randperm(24).tolist()]


@draws("fs*")
class ChosenByCode(Base):
    def more(self):
        self.fs = [[lambda x: x, lambda x: -x][n % 2] for n in torch.randperm(24).tolist()]


@draws("fs*")
class ChosenByAConstant(Base):
    def more(self):
        self.fs = [[lambda x: x * 2, lambda x: x * 3][n % 2] for n in torch.randperm(24).tolist()]


@draws("fs*")
class ChosenByAName(Base):
    def more(self):
        self.fs = [[lambda x: x.sin(), lambda x: x.cos()][n % 2] for n in torch.randperm(24).tolist()]


@draws("shift*")
class Closed(Base):
    def more(self):
        order = torch.randperm(50).tolist()
        self.shift = lambda x: x[order]


@draws("fc.weight.order")
class OnAParameter(Base):
    def more(self):
        self.fc.weight.order = torch.randperm(50).tolist()


@draws("fc.weight.hooks*")
class InAHook(Base):
    def more(self):
        factor = torch.rand(()).item()
        self.fc.weight.register_hook(lambda gradient: gradient * factor)


@draws("*.scale")
class OnTheClass(Base):
    scale: ClassVar[list[int]]

    def more(self):
        type(self).scale = torch.randperm(50).tolist()


@draws("*.table")
class TensorOnTheClass(Base):
    table: ClassVar[torch.Tensor]

    def more(self):
        type(self).table = torch.randn(3)


class Parent(Base):
    scale: ClassVar[list[int]]


@draws("*.scale")
class OnAParentsClass(Parent):
    def more(self):
        parent: Any = type(self).__mro__[1]  # by no name of this module
        parent.scale = torch.randperm(50).tolist()


CALLED: list[int] = []


class Shifting:
    def __call__(self, x):
        return x[CALLED]


@draws("*CALLED")
class InAGlobalThatACallNames(Base):
    def more(self):
        CALLED[:] = torch.randperm(50).tolist()
        self.shift = Shifting()


@draws("noise")
class SeededByTheClock(Base):
    def more(self):
        self.width = nn.init.ones_(self.fc.bias).sum().item()
        self.noise = torch.randn(4, generator=torch.Generator().manual_seed(time.time_ns() % (1 << 31)))


@draws("noise")
class AnArraySeededByTheClock(Base):
    def more(self):
        self.width = nn.init.ones_(self.fc.bias).sum().item()
        self.noise = torch.randn(4, generator=torch.Generator().manual_seed(time.time_ns() % (1 << 31))).numpy()


ORDER: list[int] = []


def ordered(x):
    return x[ORDER]


@draws("*ORDER")
class InAGlobal(Base):
    def more(self):
        ORDER[:] = torch.randperm(50).tolist()

    def forward(self, x):
        return ordered(self.fc(x))


@draws("mask")
class Sparse(Base):
    def more(self):
        self.mask = torch.randn(4, 4).to_sparse()


@draws("mask")
class PlacesAlone(Base):
    def more(self):
        self.mask = torch.sparse_coo_tensor(torch.randperm(50)[None], torch.ones(50), (50,))


@draws("mask")
class CompressedPlacesAlone(Base):
    def more(self):
        self.mask = torch.sparse_csr_tensor(torch.tensor([0, 50]), torch.randperm(50).sort().values, torch.ones(50))
        self.mask.col_indices().copy_(torch.randperm(50))


@draws("mask")
class Compressed(Base):
    def more(self):
        self.mask = self.fc.weight.detach().to_sparse_csr()


@draws("mask")
class Blocks(Base):
    def more(self):
        self.mask = self.fc.weight.detach().to_sparse_bsc((2, 2))


@draws("mask")
class Quantized(Base):
    def more(self):
        self.mask = torch.quantize_per_tensor(torch.randn(40), 0.1, 0, torch.qint8)


@draws("mask")
class QuantizedByChannel(Base):
    def more(self):
        scales = torch.tensor([0.1, 0.2])
        self.mask = torch.quantize_per_channel(torch.randn(2, 40), scales, torch.zeros(2), 0, torch.qint8)


@draws("mask")
class ScaleAlone(Base):
    def more(self):
        whole = torch.ones(4, dtype=torch.int8)
        self.mask = torch._make_per_tensor_quantized_tensor(whole, torch.rand(()).item() + 0.1, 0)


@draws("mask")
class ScalesAlone(Base):
    def more(self):
        whole = torch.ones(2, 4, dtype=torch.int8)
        scales = torch.rand(2, dtype=torch.float64) + 0.1
        self.mask = torch._make_per_channel_quantized_tensor(whole, scales, torch.zeros(2, dtype=torch.long), 0)


@draws("mask")
class OfAnotherLibrary(Base):
    def more(self):
        mask = torch.randn(4, 4)
        self.mask = mask.to_mkldnn() if torch.backends.mkldnn.is_available() else mask


@draws("mask")
class NestedTensor(Base):
    def more(self):
        self.mask = torch.nested.nested_tensor([torch.randn(2), torch.randn(3)])


@draws("mask")
class Jagged(Base):
    def more(self):
        self.mask = torch.nested.nested_tensor([torch.randn(2), torch.randn(3)], layout=torch.jagged)


@draws("noise")
class StatePutBack(Base):
    def more(self):
        state = torch.get_rng_state()
        self.noise = torch.randperm(50).tolist()
        torch.set_rng_state(state)


@draws("noise")
class StateInAnotherGenerator(Base):
    def more(self):
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
        self.noise = torch.randn(4, generator=generator)


@draws("noise")
class SeedOfTheProcess(Base):
    def more(self):
        self.noise = torch.randn(4, generator=torch.Generator().manual_seed(torch.initial_seed() % 1000 + 1))


@draws("noise")
class PythonStatePutBack(Base):
    def more(self):
        state = random.getstate()
        self.noise = [random.random() for _ in range(3)]
        random.setstate(state)


@draws("noise")
class NumpyStatePutBack(Base):
    def more(self):
        state = np.random.get_state()
        self.noise = np.random.rand(3)
        np.random.set_state(state)


@draws("noise")
class FreshGenerator(Base):
    def more(self):
        self.noise = np.random.default_rng().standard_normal(3)


@draws("noise")
class FreshOldGenerator(Base):
    def more(self):
        self.noise = np.random.RandomState().permutation(50).tolist()


@draws("noise")
class FreshSequence(Base):
    def more(self):
        self.noise = np.random.Generator(np.random.PCG64()).permutation(50).tolist()


@draws("noise")
class FreshOfPython(Base):
    def more(self):
        self.noise = random.Random().sample(range(1000), 9)


@draws("noise")
class OfTheSystem(Base):
    def more(self):
        self.noise = random.SystemRandom().sample(range(1000), 9)


@draws("noise")
class Secrets(Base):
    def more(self):
        self.noise = [secrets.randbelow(1000) for _ in range(9)]


@draws("noise")
class AskedOfTheKernel(Base):
    def more(self):
        self.noise = list(os.getrandom(8)) if hasattr(os, "getrandom") else list(os.urandom(8))


@draws("noise")
class SeededByAState(Base):
    def more(self):
        self.noise = random.Random(sum(torch.get_rng_state()[:500].tolist())).sample(range(1000), 9)


@draws("noise")
class SeededByAStateInAnotherWord(Base):
    def more(self):
        self.noise = random.Random(sum(torch.random.get_rng_state()[:500].tolist())).sample(range(1000), 9)


@draws("noise")
class SecretBytes(Base):
    def more(self):
        self.noise = torch.frombuffer(bytearray(os.urandom(16)), dtype=torch.uint8)


@draws("noise")
class SeededAfresh(Base):
    def more(self):
        generator = torch.Generator()
        generator.seed()
        self.register_buffer("noise", torch.randn(4, generator=generator), persistent=False)


@draws("noise")
class SeededAfreshAfterAReader(Base):
    def more(self):
        self.width = nn.init.ones_(self.fc.bias).sum().item()
        generator = torch.Generator()
        generator.seed()
        self.noise = torch.randperm(50, generator=generator).tolist()


@draws("noise")
class InitializedAfresh(Base):
    def more(self):
        generator = torch.Generator()
        generator.seed()
        nn.init.normal_(self.fc.weight, generator=generator)
        self.noise = self.fc.weight.argsort().flatten().tolist()


class HowMany(Base):
    def more(self):
        count = int(torch.randint(1000, ()))
        self.few = [nn.Identity() for _ in range(count)]
        self.many = [nn.Identity() for _ in range(1000 - count)]


# What differs from one construction to the next without having been drawn


class Reading(Base):
    """Built plainly, since it reads a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.init.ones_(self.fc.bias).sum().item()


_numbers = itertools.count()


@constant
class Counting(Reading):
    made = 0

    def more(self):
        torch.initial_seed()
        torch.randn(1, generator=torch.default_generator)
        Counting.made += 1
        self.number, self.made_at = Counting.made, time.time()
        self.others = {next(_numbers): "x", f"layer{next(_numbers)}": [next(_numbers)]}


@constant
class Named(Reading):
    def more(self):
        self.name, self.key = uuid.uuid4().hex, uuid.uuid4()
        with tempfile.NamedTemporaryFile() as file:
            self.place = file.name


@constant
class Addressed(Reading):
    def more(self):
        self.address, self.by_address = id(self.fc), {id(self.fc): 1, self.fc: 2}
        self.objects = {nn.ReLU(), nn.Tanh(), nn.Sigmoid()}
        self.text = object.__repr__(self.fc)


@constant
class Listed(Reading):
    instances: list[nn.Module] = []  # noqa: RUF012

    def more(self):
        self.instances.append(self)


@constant
class Fixed(Reading):
    def more(self):
        generator = np.random.default_rng(3)
        self.order = generator.permutation(9).tolist() + random.Random(3).sample(range(9), 3)
        self.generator, self.own, self.torchs = generator, random.Random(4), torch.Generator().manual_seed(5)
        self.noise = torch.randn(3, generator=self.torchs).to_sparse()
        self.objects = np.array([None, "x", 3, [1, 2]], dtype=object)
        self.begun = iter([1, 2, 3])
        next(self.begun)


@constant
class KeptGenerators(Reading):
    """They make values some later day, and are none."""

    def more(self):
        self.generator, self.own, self.torchs = np.random.default_rng(), random.Random(), torch.Generator()
        self.torchs.seed()


@constant
class CountingTensor(Reading):
    made = torch.zeros(1)

    def more(self):
        CountingTensor.made = CountingTensor.made + 1


@constant
class InAnyOrder(Reading):
    def more(self):
        self.members = set(torch.randperm(4).mul(8).tolist())  # that collide
        self.texts = ["\udc80"] * 100


@constant
class Lazy(Reading):
    def more(self):
        self.layers = [nn.LazyLinear(3)]


@constant
class Unfilled(Reading):
    def more(self):
        def later():
            return table  # noqa: F821

        self.later = later
        table = torch.zeros(1)
        del table


@constant
class Cached(Reading):
    @functools.cached_property
    def table(self):
        return torch.ones(3)

    def more(self):
        self.table  # noqa: B018
        self.copies = copy.deepcopy({"a": self.table, "b": {1.5, "x"}})


# What keeps the deferral, being nothing random


class FastWithGenerators(Base):
    def more(self):
        self.own = random.Random(4)
        self.order = np.random.default_rng(3).permutation(9).tolist() + self.own.sample(range(9), 3)
        self.default = torch.Generator()
        self.noise = torch.randn(3, generator=self.default)
        self.other = torch.randn(3, generator=torch.Generator().manual_seed(5))
        nn.init.normal_(self.fc.weight, generator=torch.default_generator)
        self.name = uuid.uuid4().hex
        with tempfile.NamedTemporaryFile() as file:
            self.place = file.name


class Overlapping(Base):
    def more(self):
        self.hankel = nn.Parameter(torch.zeros(5).as_strided((3, 3), (1, 1)))


class Repeated(Base):
    def more(self):
        self.rows = nn.Parameter(torch.zeros(1, 4).expand(3, 4))


class OverlappingAndDrawn(Base):
    def more(self):
        self.hankel = nn.Parameter(torch.randn(5).as_strided((3, 3), (1, 1)))
