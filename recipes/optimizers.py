"""Muon for the hidden matrices with AdamW for everything else, as one optimiser that the Trainer drives and saves."""

import math
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95
COEFFICIENTS, ITERATIONS, EPS = (3.4445, -4.775, 2.0315), 5, 1e-7


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are orthogonalised: Jordan et al., "Muon", 2024; as `torch.optim.Muon`.

    That one multiplies in bfloat16, which a CPU without units for it does 8 to 17 times more slowly than in float32:
    for small models that was half of all time. Here CPUs multiply in float32. The step is scaled to the size of
    AdamW's, as in Liu et al., "Muon is scalable for LLM training", 2025.

    Args:
        matrices: two-dimensional weights.
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(self, matrices: list[nn.Parameter], lr: float, weight_decay: float = 0.0):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                if not (state := self.state[matrix]):
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonalized(matrix.grad.lerp(mean, MOMENTUM))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))
        return loss


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Nearly the orthogonal matrix next to this one, of the same shape: by a quintic Newton-Schulz iteration."""
    found = matrix.float() if matrix.device.type == "cpu" else matrix.bfloat16()
    tall = found.shape[0] > found.shape[1]
    found = found.T if tall else found
    found = found / found.norm().clamp(min=EPS)
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = found @ found.T
        found = torch.addmm(found, torch.addmm(square, square, square, beta=third, alpha=fifth), found, beta=first)
    return found.T if tall else found


class MuonWithAdamW(torch.optim.Optimizer):
    """`Muon` on the weights of hidden linear layers, `torch.optim.AdamW` on the other parameters.

    Muon orthogonalises each matrix update; embeddings, output head, convolutions, norms and biases are not what it is
    made for. One learning rate serves both.

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
            self._parts["muon"] = Muon(matrices, lr=lr, weight_decay=weight_decay)
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
