"""What the installed torch can do, and older ones cannot."""

from __future__ import annotations

import pytest
import torch

sharding_on_the_cpu = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"), reason=f"torch {torch.__version__} runs fully_shard on GPUs alone"
)
