"""How both towers are optimised: Muon for hidden matrices, AdamW for the rest, a rate that falls at the end only."""

from collections.abc import Iterable

from torch import nn

from facemllm.cli import UserError
from facemllm_recipes.optimizers import MuonWithAdamW, hidden_matrices


class ThresholdMissed(UserError):
    """A tower has not reached its accuracy within the allowed number of steps."""


class TowerOptimizer:
    """Muon and AdamW behind one `step`; at this size Muon needs a fraction of AdamW's steps (docs/log.md).

    The learning rate of both (Muon's is scaled to AdamW's size of update) rises over `warmup` steps and stays;
    `cool_down` then lets it fall to zero in so many steps. Training to a threshold needs that: when the end comes is
    not known beforehand.
    """

    def __init__(self, modules: Iterable[nn.Module], learning_rate: float, warmup: int = 50):
        kinds = [hidden_matrices(module) for module in modules]
        matrices = [parameter for hidden, _ in kinds for parameter in hidden]
        others = [parameter for _, rest in kinds for parameter in rest]
        self._optimizer = MuonWithAdamW(matrices, others, learning_rate, weight_decay=0.01)
        self._parameters = matrices + others
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
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
