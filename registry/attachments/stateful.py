"""What a training loop has beside the model and its optimizer."""

from __future__ import annotations

from typing import Any, Protocol


class Stateful(Protocol):
    """A scheduler, a scaler, or whatever else says its state and takes it back."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as plain data and tensors."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Go on from a state that ``state_dict`` returned."""
