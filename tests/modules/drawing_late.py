"""Classes that draw from numpy's generator, which numpy imports when it is first asked for."""

import numpy as np
from torch import nn


class ByNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.scale = np.random.rand()


class ByNumpyAfterAValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.fc.bias.sum().item()
        self.scale = np.random.rand()
