"""What there is before a page begins: each function fills the current folder, and returns names for its Python."""

from __future__ import annotations

import shutil
from pathlib import Path


def mixed_folder() -> None:
    """A folder of old checkpoints, and one of its files beside it."""
    import old_checkpoints

    old_checkpoints.mixed(Path("old"))
    shutil.copy(Path("old/several.pth"), "several.pth")


def a_training() -> None:
    """A class of the user's, what its training saved, and a process group of one rank."""
    import torch
    import torch.distributed as dist
    from torch import nn

    Path("mymodels.py").write_text(
        "from torch import nn\n\n\nclass PointNet(nn.Module):\n    def __init__(self, num_classes=40):\n"
        "        super().__init__()\n        self.features = nn.Linear(3, 8)\n"
        "        self.head = nn.Linear(8, num_classes)\n\n"
        "    def forward(self, points):\n        return self.head(self.features(points).amax(1))\n"
    )
    import sys

    sys.path.insert(0, str(Path.cwd()))
    from mymodels import PointNet

    model = PointNet()
    torch.save(nn.DataParallel(model).state_dict(), "best.pth")
    dist.init_process_group("gloo", init_method=f"file://{Path.cwd()}/ranks", rank=0, world_size=1)
