"""Muon for the hidden matrices with AdamW for everything else, as one optimiser that the Trainer drives and saves."""

from typing import Any

import torch
from torch import nn


class MuonWithAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` on the weights of hidden linear layers, `torch.optim.AdamW` on the other parameters.

    Muon orthogonalises each matrix update (Jordan et al., 2024); embeddings, output head, convolutions, norms and
    biases are not what it is made for. Its step is scaled to the size of AdamW's, so one learning rate serves both.

    Args:
        matrices: two-dimensional weights of hidden layers, for Muon.
        others: the other parameters, for AdamW. `hidden_matrices` separates a model's two kinds.
        lr: learning rate of both.
        weight_decay: decay of the matrices; the rest has none.
    """

    def __init__(self, matrices: list[nn.Parameter], others: list[nn.Parameter], lr: float, weight_decay: float = 0.0):
        # Either may be empty (a frozen part), which torch's optimisers refuse.
        self._parts = {}
        if matrices:
            self._parts["muon"] = torch.optim.Muon(
                matrices, lr=lr, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
        if others:
            self._parts["adamw"] = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
        super().__init__([*matrices, *others], {"lr": lr})
        self._share_groups()

    def _share_groups(self) -> None:
        """Let schedulers, clipping and logging see the groups that the two optimisers really step with."""
        self.param_groups = [group for part in self._parts.values() for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts.values():
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])
        self._share_groups()


def hidden_matrices(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trainable parameters of `model` in two lists: weights of hidden linear layers, and all others."""
    outer = set()
    for get in ("get_input_embeddings", "get_output_embeddings"):
        module = getattr(model, get, lambda: None)()
        if module is not None:
            outer.update(map(id, module.parameters()))
    linear = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear)} - outer
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if id(parameter) in linear]
    return matrices, [parameter for parameter in trained if id(parameter) not in linear]
