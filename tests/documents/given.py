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
    """A class of the user's, what its training saved under DataParallel, and a process group of one rank."""
    import torch
    import torch.distributed as dist
    from torch import nn

    torch.save(nn.DataParallel(_point_net()()).state_dict(), "best.pth")
    dist.init_process_group("gloo", init_method=f"file://{Path.cwd()}/ranks", rank=0, world_size=1)


NET = '''"""Models of the user."""

from torch import nn


class PointNet(nn.Module):
    """It takes clouds of shape (batch, 3, points), and its settings as people's classes do: a Namespace, and words."""

    def __init__(self, args=None, num_classes=40):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, num_classes)

    def forward(self, points):
        return self.head(self.encoder(points).amax(-1))
'''


def _point_net() -> type:
    import importlib
    import sys

    Path("mymodels.py").write_text(NET)
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module("mymodels").PointNet


def a_job() -> dict[str, object]:
    """A process group of one rank, three versions, the file of the third, and things of a training loop."""
    import torch
    import torch.distributed as dist
    from safetensors.torch import save_file

    import registry

    net = _point_net()
    for _ in range(3):
        model = net()
        registry.push(model, "pointnet", init={})
    for path in (Path("best.pth"), Path("runs/a/best.pth"), Path("runs/b/best.pth")):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    save_file({"points": torch.rand(1, 3, 16)}, "inputs.safetensors")
    dist.init_process_group("gloo", init_method=f"file://{Path.cwd()}/ranks", rank=0, world_size=1)
    return {"accuracy": 0.93, "loader": Place(), "curriculum": Place()}


class Place:
    """Where something of a training loop is."""

    def __init__(self) -> None:
        self.place = 7

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def ten_versions() -> None:
    """Ten versions with metrics and tags, and a file that was trained from the last."""
    import torch

    import registry

    net = _point_net()
    for at in range(10):
        model = net()
        registry.push(
            model,
            "pointnet",
            init={},
            metrics={"acc": 0.85 + at / 100, "loss": 0.2 - at / 100},
            tags={"task": "seg", **({"release": "1.0"} if at == 4 else {})},
            aliases=["best"],
        )
    torch.nn.init.zeros_(model.head.weight)
    torch.save(model.state_dict(), "tuned.pth")


def a_folder_for_models() -> None:
    """Another registry's folder."""
    import registry

    registry.Registry("models").add_token("ann")


def folders_of_libraries() -> dict[str, object]:
    """What each library's ``save_pretrained`` wrote, of models without training, and some of them live."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    import registry

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model, base = (LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=32, pad_token_id=0)) for _ in range(2))
    model.save_pretrained("tiny-llama")
    Path("README.md").write_text("# A tiny llama\n")
    Path("tiny-llama/README.md").write_text("# A tiny llama\n")
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "norm_num_groups": 8}
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(16, 32), **blocks
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained("ddpm")
    registry.push(base, "llama")
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained("chat-adapter")
    return {"model": model, "base": LlamaForCausalLM.from_pretrained("tiny-llama"), "peft_model": adapted}
