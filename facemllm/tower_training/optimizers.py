"""How both towers are optimised: Muon for hidden matrices, AdamW for the rest, a rate that falls at the end only."""

from collections.abc import Iterable

import torch
from torch import nn

from facemllm.cli import UserError
from facemllm_recipes.optimizers import MuonWithAdamW, hidden_matrices

STARTED_RATE = 0.15  # of the learning rate


class ThresholdMissed(UserError):
    """A tower has not reached its accuracy within the allowed number of steps."""


class TowerOptimizer:
    """Muon and AdamW behind one `step`; at this size Muon needs a fraction of AdamW's steps (docs/log.md).

    The learning rate of both (Muon's is scaled to AdamW's size of update) rises over `warmup` steps and stays;
    `cool_down` then lets it fall to zero in so many steps. Training to a threshold needs that: when the end comes is
    not known beforehand.

    Args:
        started: a part of the modules whose weights are not random. It learns with AdamW, at `STARTED_RATE` of the
            learning rate: at all of it, it forgets more than it learns (docs/log.md).
    """

    def __init__(
        self, modules: Iterable[nn.Module], learning_rate: float, warmup: int = 50, started: nn.Module | None = None
    ):
        slow = [] if started is None else [weight for weight in started.parameters() if weight.requires_grad]
        apart = set(map(id, slow))
        matrices, others = [], []
        for module in modules:
            hidden, rest = hidden_matrices(module)
            matrices += [weight for weight in hidden if id(weight) not in apart]
            others += [weight for weight in rest if id(weight) not in apart]
        self._optimizers = [MuonWithAdamW(matrices, others, learning_rate, weight_decay=0.01)]
        self._rates = [(group, 1.0) for group in self._optimizers[0].param_groups]
        if slow:
            self._optimizers.append(torch.optim.AdamW(slow, betas=(0.9, 0.98), weight_decay=0.0))
            self._rates += [(group, STARTED_RATE) for group in self._optimizers[1].param_groups]
        self._parameters = matrices + others + slow
        self._peak, self._warmup, self.learning_rate = learning_rate, warmup, 0.0
        self._steps, self._cooling, self._left = 0, 0, 0

    def cool_down(self, steps: int) -> None:
        """Let the learning rate fall linearly to zero over the next `steps` steps."""
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
        for group, rate in self._rates:
            group["lr"] = self.learning_rate * rate
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
