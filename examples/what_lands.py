"""Count what the usual recipes make of a wrapped checkpoint: ``python examples/what_lands.py FILE``.

A skeleton with the bare model's names stands in for the model, so the count needs no class, and ``load_state_dict``
itself does the loading. The truth is what ``registry.inspect`` decides.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

import registry

UNTOUCHED = -123.0


def skeleton(tensors: dict[str, torch.Tensor]) -> nn.Module:
    """Return a module whose state dict has these names and shapes, all filled with one value."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        module = root
        for component in path:
            if component not in module._modules:
                module.add_module(component, nn.Module())
            module = module.get_submodule(component)
        module.register_buffer(leaf, torch.full_like(tensor, UNTOUCHED, dtype=torch.float64))
    return root


def landed(tensors: dict[str, torch.Tensor], renamed: dict[str, torch.Tensor]) -> int:
    """Load the renamed tensors with ``strict=False`` and count the names that got their own values."""
    model = skeleton(tensors)
    model.load_state_dict(renamed, strict=False)
    state = model.state_dict()
    return sum(torch.equal(state[name], tensor.double()) for name, tensor in tensors.items())


def main(path: str) -> None:
    inspection = registry.inspect(path)
    names = inspection.form.tensors
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    for key in filter(None, inspection.weights.key.split("/")):
        loaded = loaded[key]
    truth = {canonical: loaded[name] for name, canonical in names.items()}
    recipes = {
        "load_state_dict(ckpt, strict=False)": loaded,
        'key.replace("module.", "")': {name.replace("module.", ""): tensor for name, tensor in loaded.items()},
        "registry": truth,
    }
    for recipe, renamed in recipes.items():
        print(f"{recipe:40} {landed(truth, renamed):4} of {len(truth)} tensors land")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/what_lands.py FILE")
    try:
        main(sys.argv[1])
    except registry.errors.RegistryError as error:
        sys.exit(str(error))
