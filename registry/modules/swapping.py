"""Giving a tensor object other contents."""

from __future__ import annotations

import torch


def swap_contents(tensor: torch.Tensor, other: torch.Tensor) -> None:
    """Give a tensor object the contents, device and dtype of another; its identity, type and attributes stay.

    ``torch.utils.swap_tensors`` does the same and refuses tensors that something refers to weakly, as LSTM does; the
    reference goes to the object, which stays, so that is no reason here.
    """
    other.requires_grad_(tensor.requires_grad)
    torch._C._swap_tensor_impl(tensor, other)
