"""Small models, each with one habit that skipping initialization, or assigning weights, could get wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations


class ConvNet(nn.Module):
    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.group = nn.GroupNorm(2, channels)
        self.up = nn.ConvTranspose2d(channels, 2, 2, stride=2)

    def forward(self, x):
        return self.up(self.group(torch.relu(self.norm(self.conv(x)))))

    example = staticmethod(lambda: torch.linspace(-1, 1, 36).reshape(2, 2, 3, 3))


class TiedTransformer(nn.Module):
    """Tied embedding, rotary tables outside of the state dict, initialization as GPT has it."""

    angles: torch.Tensor

    def __init__(self, vocabulary: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 16, 0.0, batch_first=True), 2)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        weight: Any = self.head.weight
        weight.no_decay = True
        self.register_buffer("angles", torch.outer(torch.arange(16.0), torch.arange(1.0, width + 1)), persistent=False)
        self.apply(self._initialize)

    def _initialize(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            module.weight.data[0].zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(0, 0.02)

    def forward(self, ids):
        x = self.embedding(ids) + self.angles[: ids.shape[1]].sin()
        return self.head(self.layers(x + self.attention(x, x, x)[0]))

    example = staticmethod(lambda: torch.arange(10).reshape(2, 5))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.lstm(x)[0])

    example = staticmethod(lambda: torch.linspace(-1, 1, 30).reshape(5, 2, 3))


class WeightNormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = parametrizations.weight_norm(nn.Linear(4, 4))
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.spectral(self.linear(x))


class OldNorms(nn.Module):
    """The hooks of before parametrizations: a plain attribute is computed from two parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weighted = nn.utils.weight_norm(nn.Linear(4, 4))
        self.spectral = nn.utils.spectral_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.spectral(self.weighted(x))


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(3)

    def forward(self, x):
        return self.linear(x)


class RandomBuffer(nn.Module):
    """Draws its parameters first, so that not drawing them shifts what a buffer outside of the state dict gets."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("noise", torch.randn(4), persistent=False)

    def forward(self, x):
        return self.linear(x) + self.noise


class RandomAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.tables = {"projection": [torch.randn(4, 4)]}

    def forward(self, x):
        return self.linear(x) @ self.tables["projection"][0]


class DrawnParameter(nn.Module):
    """Random numbers that only become parameters are no reason to build plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(4) * 0.02)
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x + self.position)


class SelfMoving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.to("cpu")

    def forward(self, x):
        return self.linear(x)


class ComputedBuffer(nn.Module):
    """A buffer outside of the state dict is computed from a parameter's initial value."""

    initial: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        nn.init.constant_(self.linear.weight, 2.0)
        self.register_buffer("initial", self.linear.weight.detach() * 3, persistent=False)

    def forward(self, x):
        return self.linear(x) + self.initial.sum()


class ForgivingReader(nn.Module):
    """Reads a parameter, and has an answer ready for when that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        nn.init.constant_(self.linear.weight, 2.0)
        try:
            self.scale = float(self.linear.weight.mean())
        except Exception:
            self.scale = 1.0

    def forward(self, x):
        return self.linear(x) * self.scale


class DeviceAsker(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.shift = 1.0 if self.linear.weight.device.type == "cpu" else 0.0

    def forward(self, x):
        return self.linear(x) + self.shift


class MemorySharer(nn.Module):
    """A plain attribute sees the memory of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        values = torch.ones(4)
        self.weight = nn.Parameter(values)
        self.view = values

    def forward(self, x):
        return x * self.view


class CustomReset(nn.Module):
    steps: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, 4))
        self.bias = nn.Parameter(torch.empty(4))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.orthogonal_(self.weight)
        with torch.no_grad():
            self.bias.uniform_(-1, 1).mul_(0.5)
            self.weight[0, :2] = 0
        self.steps += 1

    def forward(self, x):
        return x @ self.weight + self.bias


class FixedScale(nn.LayerNorm):
    """Its scale is a buffer that is not saved, given its values by torch's own ``reset_parameters``."""

    def __init__(self) -> None:
        super().__init__(4)
        del self.weight
        self.register_buffer("weight", torch.full((4,), 7.0), persistent=False)
        self.reset_parameters()


class Containers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.listed = nn.ParameterList([nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(4))})
        self.plain_list = [self.named["a"]]

    def forward(self, x):
        return x * self.listed[0] + self.listed[1] + self.plain_list[0]


class SharedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, x):
        return self.second(self.first(x))


class OddTypes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, dtype=torch.float64)
        self.frequencies = nn.Parameter(torch.ones(4, dtype=torch.complex64))
        self.counts = nn.Parameter(torch.arange(4), requires_grad=False)
        self.register_buffer("mask", torch.zeros(4, dtype=torch.bool))
        self.register_buffer("small", torch.zeros(4, dtype=torch.int8))
        self.register_buffer("empty", torch.zeros(0, 3))

    def forward(self, x):
        return self.linear(x.double()) * self.frequencies.abs() + self.mask + self.small + self.counts


class Expanded(nn.Module):
    """A buffer whose elements are one place in memory, which torch cannot copy into."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.zeros(1).expand(4))


class ExtraState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.steps = 0

    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]
        if self.steps < 0:
            raise ValueError("steps are never negative")

    def forward(self, x):
        return self.linear(x) + self.steps


class OwnLoading(nn.Module):
    """Stores its weight transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))
        self._register_state_dict_hook(self._transposed)

    @staticmethod
    def _transposed(module, state, prefix, metadata):
        state[prefix + "weight"] = state[prefix + "weight"].T

    def _load_from_state_dict(self, state, prefix, *args):
        state = {**state, prefix + "weight": state[prefix + "weight"].T}
        super()._load_from_state_dict(state, prefix, *args)

    def forward(self, x):
        return x @ self.weight


class Reinitialized(nn.Module):
    """Fails for good, whichever way it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        raise KeyError("vocabulary.txt")


class TakesNamespace(nn.Module):
    def __init__(self, args) -> None:
        super().__init__()
        self.linear = nn.Linear(args.width, args.width)


def make_linear(width: int) -> nn.Module:
    return nn.Linear(width, width)


def make_nothing() -> None:
    return None
