"""Quantized weights, and the scales without which they are no numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

from registry.tensors.source import TensorSource

_CODES = ("int", "uint", "float8", "float4")
"""How the dtypes begin in which codes are kept."""
_NO_SCALES = ("bias", "qzeros", "g_idx", "weight_shape", "weight_zero_point")
"""What may stand beside codes and is no scale."""


def unscaled(tensors: Mapping[str, TensorSource], config: str | None) -> list[str]:
    """Return the names of codes beside which no scale stands, of a model whose configuration says it is quantized.

    Every method keeps both in one module, under names of its own (``scales``, ``weight_scale_inv``, ``SCB``,
    ``weight.absmax``). So whatever else stands there, and is not known to be something else, is one.
    """
    if not _says_so(config):
        return []
    modules: dict[str, list[str]] = defaultdict(list)
    for name in tensors:
        module, _, key = name.rpartition(".weight.")
        if not module:
            module, _, key = name.rpartition(".")
        modules[module].append(key if key != name else name)
    found = []
    for name, source in tensors.items():
        module, _, key = name.rpartition(".")
        is_codes = "weight" in key and source.spec.dtype.startswith(_CODES) and len(source.spec.shape) > 1
        if is_codes and key not in _NO_SCALES and not [k for k in modules[module] if k not in (key, *_NO_SCALES)]:
            found.append(name)
    return found


def _says_so(config: str | None) -> bool:
    try:
        found = json.loads(config or "null")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("quantization_config"), dict)
