"""What a tower may learn from in place of captions: the labels of faces, as answers of closed questions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from datasets_scripts.questions.closed_task import Task
from datasets_scripts.questions.conversations import conventions_of
from datasets_scripts.questions.tasks import TASKS
from datasets_scripts.schema import CorpusError

from .phrases import mirrored

if TYPE_CHECKING:
    from .pictures import CaptionedPictures

UNKNOWN = -100  # as in cross_entropy
DROPOUT = 0.2
NEEDED = 100  # faces whose answer is known: fewer teach nothing, and cost a column


class LabelObjective(nn.Module):
    """Features (batch, cells, width) to one logit for each answer of each task, of the mean of all cells.

    The tasks are those of `tasks.TASKS` with a closed set of answers that the training `labels` know two answers of
    at least; race is not among them, nor is any other that is asked on request only. Unknown labels cost nothing.
    """

    def __init__(self, width: int, labels: Sequence[Mapping[str, Any]]):
        super().__init__()
        self._conventions = conventions_of(labels)
        self.answers: dict[str, tuple[str, ...]] = {}
        for name, row in TASKS.items():
            if not isinstance(row, Task) or row.on_request:
                continue
            known = [value for face in labels if (value := row.value(face, self._conventions)) is not None]
            if len(known) >= min(NEEDED, len(labels)) and len(set(known)) > 1:
                self.answers[name] = tuple(value for value in row.answers if value in set(known))
        if not self.answers:
            raise CorpusError("no label of this corpus has two values: leave --labels out, to learn from its captions")
        self.sizes = [len(answers) for answers in self.answers.values()]
        self.dropout, self.out = nn.Dropout(DROPOUT), nn.Linear(width, sum(self.sizes))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def targets(self, pictures: "CaptionedPictures", mirror: bool = False) -> torch.Tensor:
        """Int64 of shape (pictures, tasks): the number of each answer, or -100; of mirrored pictures, if so.

        There, what is left and what is right have changed places.
        """
        rows = []
        places = [
            (TASKS[name], {answer: at for at, answer in enumerate(known)}) for name, known in self.answers.items()
        ]
        for face in pictures.labels:
            values = [row.value(face, self._conventions) for row, _ in places]
            if mirror:
                values = [value and mirrored(value) for value in values]
            rows.append([of.get(value, UNKNOWN) for value, (_, of) in zip(values, places, strict=True)])
        return torch.tensor(rows)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(features.mean(dim=1)))

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The sum of the tasks' mean cross-entropies, in nats."""
        losses = [
            functional.cross_entropy(answers, known, ignore_index=UNKNOWN, reduction="sum")
            / (known != UNKNOWN).sum().clamp(min=1)
            for answers, known in zip(logits.split(self.sizes, dim=1), targets.unbind(1), strict=True)
        ]
        return torch.stack(losses).sum()

    def figures(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        """`accuracy` of each task among the faces whose label is known."""
        parts = zip(self.answers, logits.split(self.sizes, dim=1), targets.unbind(1), strict=True)
        found = {}
        for name, answers, known in parts:
            right = (answers.argmax(1) == known)[known != UNKNOWN]
            if len(right):
                found[name] = round(right.float().mean().item(), 3)
        return {"accuracy": found}
