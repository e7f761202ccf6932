"""How both towers are optimised: Muon for hidden matrices, AdamW for the rest, a rate that falls at the end only."""

from collections.abc import Iterable

import torch
from torch import nn


class ThresholdMissed(RuntimeError):
    """A tower has not reached its accuracy within the allowed number of steps."""


class TowerOptimizer:
    """Muon and AdamW behind one `step`; at this size Muon needs a fraction of AdamW's steps (docs/log.md).

    The learning rate rises over ``warmup`` steps and stays; `cool_down` then lets it fall to zero in so many steps.
    Training to a threshold needs that: when the end comes is not known beforehand.

    Args:
        modules: whose parameters are trained.
        learning_rate: peak rate of both optimisers (Muon's is scaled to AdamW's size of update).
        warmup: steps of the rise.

    Raises:
        RuntimeError: if the installed torch has no Muon.
    """

    def __init__(self, modules: Iterable[nn.Module], learning_rate: float, warmup: int = 50):
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(
                f"torch {torch.__version__} has no torch.optim.Muon: training the towers needs torch>=2.9"
            )
        matrices, others = [], []
        for module in modules:
            for part in module.modules():
                for name, parameter in part.named_parameters(recurse=False):
                    hidden = isinstance(part, nn.Linear) and name == "weight" and parameter.requires_grad
                    (matrices if hidden else others).append(parameter)
        tied = {id(parameter) for parameter in others}  # an output layer that shares its matrix with the embeddings
        matrices = [parameter for parameter in matrices if id(parameter) not in tied]
        others = list({id(parameter): parameter for parameter in others}.values())
        self._optimizers = (
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self._parameters = matrices + others
        self._peak, self._warmup, self.learning_rate = learning_rate, warmup, 0.0
        self._steps, self._cooling, self._left = 0, 0, 0

    def cool_down(self, steps: int) -> None:
        """Let the learning rate fall linearly to zero over the next ``steps`` steps."""
        self._cooling = self._left = steps

    @property
    def finished(self) -> bool:
        """Whether the learning rate has fallen to zero."""
        return self._cooling > 0 and self._left == 0

    def step(self) -> None:
        """Clip the gradients, take one step and clear them."""
        self._steps += 1
        share = min(1.0, self._steps / self._warmup)
        if self._cooling:
            share *= self._left / self._cooling
            self._left -= 1
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self.learning_rate = self._peak * share
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            optimizer.step()
            optimizer.zero_grad()
