"""A module that a constructor imports; what it makes of its own stays for the whole process."""

import torch
from torch import nn

SCALE = nn.Parameter(torch.ones(2), requires_grad=False)
NOISE = torch.rand(4)
LAYER = nn.Linear(2, 2)
