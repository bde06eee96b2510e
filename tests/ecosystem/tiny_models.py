"""Models of each library, tiny and made on the spot, each with what it is called on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Made = tuple[Any, Callable[[nn.Module], torch.Tensor]]


def ids() -> torch.Tensor:
    return torch.arange(12).reshape(2, 6)


def picture(channels: int, size: int) -> torch.Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(1))


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"vocab_size": 64, "tie_word_embeddings": True, "pad_token_id": 0}
    return LlamaForCausalLM(LlamaConfig(**{**settings, **special, **changes})).eval()


def decoder() -> Made:
    model = llama()
    model.generation_config.max_new_tokens = 7
    return model, lambda m: m(ids()).logits


def encoder() -> Made:
    from transformers import BertConfig, BertForMaskedLM

    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertForMaskedLM(BertConfig(**settings, vocab_size=64)).eval(), lambda m: m(ids()).logits


def vision() -> Made:
    from transformers import ViTConfig, ViTForImageClassification

    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = ViTConfig(**settings, image_size=16, patch_size=8, id2label={0: "cat", 1: "dog", 2: "bird"})
    return ViTForImageClassification(config).eval(), lambda m: m(picture(3, 16)).logits


def unet() -> Made:
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return model.eval(), lambda m: m(picture(1, 8), 3).sample


def vae() -> Made:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(block_out_channels=(16,), norm_num_groups=8, latent_channels=2)
    return model.eval(), lambda m: m(picture(3, 8)).sample


def convolutional() -> Made:
    import timm

    return timm.create_model("resnet10t", num_classes=3, in_chans=1).eval(), lambda m: m(picture(1, 32))


def transformer_of_timm() -> Made:
    import timm

    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=4, depth=2)
    return model.eval(), lambda m: m(picture(3, 32))


MODELS = {
    "transformers": (decoder, encoder, vision),
    "diffusers": (unet, vae),
    "timm": (convolutional, transformer_of_timm),
}
"""By builder."""
ALL = [(builder, make) for builder, makers in MODELS.items() for make in makers]


def save(builder: str, model: Any, folder: Any) -> None:
    """Write a model as its library writes it."""
    if builder == "timm":
        from timm.models._hub import save_for_hf

        save_for_hf(model, folder, safe_serialization=True)
    else:
        model.save_pretrained(folder)


def reopened(builder: str, model: Any, folder: Any) -> nn.Module:
    """Read a folder as its library reads it, unmodified."""
    if builder == "timm":
        import timm

        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return type(model).from_pretrained(folder).eval()
