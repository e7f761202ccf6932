"""The vision tower: it learns to see from captions, or from labels of faces.

From captions it is trained to predict which words and phrases the caption of a picture contains; any corpus of
captioned pictures will do. Labels, where a corpus has them, teach ages better (docs/log.md).
"""

import hashlib
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.nn import functional
from tqdm import tqdm

from datasets_scripts.synthetic import text as synthetic_text
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel

from .labels import LabelObjective
from .optimizers import ThresholdMissed, TowerOptimizer
from .phrases import PhraseObjective
from .pictures import CaptionedPictures, world

# In augmentation, of a side: a detector cuts closer than a dataset's margin, or shows more around the face.
LEAST_VIEW, WIDEST_VIEW = 0.88, 1.05
MAX_SHIFT = 0.03
CHECK_EVERY = 50
THRESHOLD = 0.92  # of accuracy, where the rate begins to fall; that adds about two points
MAX_STEPS, COOL_DOWN = 4000, 250  # before it falls, and while it does
REQUIRED_ACCURACY = 0.93
DEFAULT_STEPS = 1200  # for the estimate on the progress bar only


class VisionTraining:
    """Trains one tower on the pictures `train`; those of `held_out` measure it.

    Where `torch.distributed` connects several processes, each trains on its own pictures, and their gradients are
    averaged: together they take one step on `batch_size` pictures.

    Args:
        tower: a configuration, for random weights, or a tower to go on with. Pictures are reduced to its size.
        seed: of the weights, the order and the augmentation.
        augment: crops pictures, mirrors them (their captions and labels too) and changes their light a little.
        frozen: how many of the tower's first stages stay as they are: that saves most of their time.
        rarest: share of the captions that a phrase must be in to be learned.
        from_labels: learn the labels' answers in place of the captions' phrases.
        started: the tower's convolutions have learned elsewhere: they learn at `STARTED_RATE` of the rate.
    """

    def __init__(
        self,
        tower: FaceMLLMVisionConfig | FaceMLLMVisionModel,
        train: CaptionedPictures,
        held_out: CaptionedPictures,
        seed: int = 0,
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        augment: bool = False,
        frozen: int = 0,
        rarest: float = 0.02,
        from_labels: bool = False,
        started: bool = False,
    ):
        torch.manual_seed(seed)
        self._rank, self._processes = world()
        self.device = torch.device("cuda", self._rank) if torch.cuda.is_available() else torch.device("cpu")
        tower = tower if isinstance(tower, FaceMLLMVisionModel) else FaceMLLMVisionModel(tower)
        self.tower = tower.to(self.device, memory_format=torch.channels_last)  # a third less time on CPUs
        for stage in self.tower.stages[:frozen]:
            stage.requires_grad_(False)
        width = tower.config.hidden_size
        of_all = [
            LabelObjective(width, train.labels) if from_labels else PhraseObjective(width, train.captions, rarest)
        ]
        if self._processes > 1:  # each has seen other captions, and has drawn its own new weights
            distributed.broadcast_object_list(of_all)
            for weight in self.tower.state_dict().values():
                distributed.broadcast(weight, src=0)
        self.objective = of_all[0].to(self.device)
        slow = self.tower.stages if started else None
        self.optimizer = TowerOptimizer((self.tower, self.objective), learning_rate, started=slow)
        self._learned = [
            parameter
            for module in (self.tower, self.objective)
            for parameter in module.parameters()
            if parameter.requires_grad
        ]
        self.batch_size, self.augment = batch_size // self._processes, augment
        self.steps = 0
        self._train, self._held_out = train, held_out
        self._targets = self.objective.targets(train)
        self._mirrored = self.objective.targets(train, mirror=True) if augment else None
        self._order = torch.Generator().manual_seed(seed)
        self._queue: list[int] = []

    def train_to_threshold(self) -> None:
        """Train until the mean of `attribute_accuracy` is `THRESHOLD`, then let the learning rate fall.

        Raises:
            ThresholdMissed: if `MAX_STEPS` do not suffice.
        """
        accuracy = 0.0
        with tqdm(total=DEFAULT_STEPS, desc="vision tower", unit="step", mininterval=1) as bar:
            while accuracy < THRESHOLD:
                if self.steps >= MAX_STEPS:
                    raise ThresholdMissed(
                        f"vision tower: accuracy {accuracy:.3f} after {MAX_STEPS} steps, {THRESHOLD} is needed: draw "
                        "more --faces or try another --seed"
                    )
                self._steps(CHECK_EVERY, bar)
                accuracy = fmean(self.attribute_accuracy().values())
                bar.set_postfix_str(f"accuracy {accuracy:.2f}")
            self.optimizer.cool_down(COOL_DOWN)
            self._steps(COOL_DOWN, bar)

    def train_for(self, steps: int) -> None:
        """Train for so many steps; over the last third of them the learning rate falls to zero."""
        with tqdm(total=steps, desc="vision tower", unit="step", mininterval=1, disable=self._rank > 0) as bar:
            self._steps(steps - steps // 3, bar)
            self.optimizer.cool_down(steps // 3)
            self._steps(steps // 3, bar)

    def train_small(self, steps: int) -> None:
        """Train for so many steps whose learning rate stays: what comes before `train_for`, on smaller pictures."""
        with tqdm(
            total=steps, desc="vision tower, small pictures", unit="step", mininterval=1, disable=self._rank > 0
        ) as bar:
            self._steps(steps, bar)

    def measure(self) -> dict[str, Any]:
        """What the tower has reached on the held-out pictures, and what it was trained on.

        Raises:
            ThresholdMissed: if a tower of drawn faces is right less often than `REQUIRED_ACCURACY`.
        """
        held_out = self._held_out
        measured = {
            "parameters": self.tower.num_parameters(),
            "steps": self.steps,
            "pictures": len(self._train) * self._processes,
            "fingerprint": hashlib.sha256("\n".join(self._train.captions[:1000]).encode()).hexdigest(),
            "held_out": len(held_out),
            **self.objective.figures(self.logits(held_out.pixels), self.objective.targets(held_out)),
        }
        if held_out.drawn:
            accuracy = self.attribute_accuracy()
            mean = fmean(accuracy.values())
            if mean < REQUIRED_ACCURACY:
                raise ThresholdMissed(
                    f"vision tower: accuracy {mean:.3f}, {REQUIRED_ACCURACY} is needed: draw more --faces"
                )
            measured |= {"mean_accuracy": round(mean, 3), "accuracy": accuracy}
        return measured

    def step(self) -> float:
        """One optimiser step; returns the objective's loss, in nats."""
        if len(self._queue) < self.batch_size:
            self._queue += torch.randperm(len(self._train), generator=self._order).tolist()
        chosen, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        seen, targets = pixel_values(self._train.pixels[chosen]), self._targets[chosen]
        if self.augment:
            mirror = torch.rand(len(chosen), generator=self._order) < 0.5
            seen = self._augmented(seen, mirror)
            targets = torch.where(mirror[:, None], self._mirrored[chosen], targets)
        self.objective.train()
        loss = self.objective.loss(self.objective(self._features(seen)), targets.to(self.device))
        loss.backward()
        if self._processes > 1:
            self._average_gradients()
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    @torch.no_grad()
    def logits(self, pixels: np.ndarray) -> torch.Tensor:
        """What the objective says of pictures, float32, on the CPU; `pixels` as in `CaptionedPictures`."""
        self.objective.eval()
        parts = range(0, len(pixels), 128)
        seen = (pixel_values(pixels[start : start + 128]) for start in parts)
        return torch.cat([self.objective(self._features(part)).cpu() for part in seen])

    def attribute_accuracy(self) -> dict[str, float]:
        """For each attribute of drawn faces, how often the right value's phrases are raised most above their prior."""
        faces = self._held_out
        raised = self.logits(faces.pixels) - torch.logit(self.objective.vocabulary.shares)
        accuracy = {}
        for name, wording in synthetic_text.WORDING.items():
            values = list(wording.predicates)
            scores = torch.stack(
                [raised[:, self.objective.phrases(wording.predicates[value])].mean(1) for value in values], 1
            )
            guesses = [values[number] for number in scores.argmax(1).tolist()]
            pairs = [(guess, face[name]) for guess, face in zip(guesses, faces.labels, strict=True) if face[name]]
            accuracy[name] = round(sum(guess == value for guess, value in pairs) / len(pairs), 3)
        return accuracy

    def save(self, out: Path) -> None:
        """Write the tower with the settings of its image processor into the folder `out`."""
        from modeling_facemllm.versions_facemllm import default_image_processor

        side = self.tower.config.image_size
        # A tower is a part, loaded by this package: it does not carry its own code, as a whole model does.
        self.tower._auto_class = self.tower.config._auto_class = None
        vars(self.tower.config).pop("auto_map", None)  # of the folder that it started from
        self.tower.cpu().to(memory_format=torch.contiguous_format).eval().save_pretrained(out)
        default_image_processor(side).save_pretrained(out)

    def _steps(self, number: int, bar: tqdm) -> None:
        for _ in range(number):
            self.step()
            bar.update()

    def _features(self, seen: torch.Tensor) -> torch.Tensor:
        side = self.tower.config.image_size
        if seen.shape[-1] != side:
            seen = functional.interpolate(seen, (side, side), mode="bilinear", antialias=True)
        seen = seen.to(self.device, memory_format=torch.channels_last)
        return self.tower(seen).last_hidden_state

    def _average_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self._learned]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        for gradient, mean in zip(gradients, together.split([part.numel() for part in gradients]), strict=True):
            gradient.copy_((mean / self._processes).view_as(gradient))

    def _augmented(self, seen: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
        """Other views of the pictures, mirrored or not, in a little other light; beyond the edge it is repeated."""
        number = len(seen)
        size, left, top, gain, shift = torch.rand(5, number, generator=self._order)
        size = LEAST_VIEW + (WIDEST_VIEW - LEAST_VIEW) * size
        room = (1 - size).clamp(min=0) + 2 * MAX_SHIFT
        views = torch.zeros(number, 2, 3)
        views[:, 0, 0], views[:, 1, 1] = torch.where(mirror, -size, size), size
        views[:, 0, 2], views[:, 1, 2] = (2 * left - 1) * room, (2 * top - 1) * room
        grid = functional.affine_grid(views, list(seen.shape), align_corners=False)
        seen = functional.grid_sample(seen, grid, padding_mode="border", align_corners=False)
        return (seen * (0.9 + 0.2 * gain)[:, None, None, None] + (0.2 * shift - 0.1)[:, None, None, None]).clamp(-1, 1)


def pixel_values(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (batch, side, side, 3) to float32 (batch, 3, side, side) in [-1, 1], as SigLIP's image processor does."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
