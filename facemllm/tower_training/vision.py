"""The vision tower: convolutions and two transformer layers that learn to see from captions.

The tower is trained to predict which words and phrases the caption of a picture contains. It gets no labels: any
corpus of captioned pictures will do.
"""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from datasets_scripts.schema import CorpusError
from datasets_scripts.synthetic import text as synthetic_text
from datasets_scripts.synthetic.faces import draw_face, sample_labels
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel

from .optimizers import ThresholdMissed, TowerOptimizer

MAX_NGRAM = 4
LEAST_CROP = 0.75  # of a side, in augmentation: a detector cuts closer than a dataset's margin, or less close
CHECK_EVERY = 50
THRESHOLD = 0.92  # of accuracy, where the rate begins to fall; that adds about two points
MAX_STEPS, COOL_DOWN = 4000, 250  # before it falls, and while it does
REQUIRED_ACCURACY = 0.93
DEFAULT_STEPS = 1200  # for the estimate on the progress bar only


@dataclass
class CaptionedPictures:
    """Pictures, uint8 of shape (pictures, side, side, 3), each with a caption and, where known, its labels."""

    pixels: np.ndarray
    captions: list[str]
    labels: list[dict[str, str | None]] | None = None

    def __len__(self) -> int:
        return len(self.captions)


def drawn_faces(count: int, split: str, seed: int, size: int = 64) -> CaptionedPictures:
    """The first `count` drawn faces of a split, captioned."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    labels = [sample_labels(index, seed, split) for index in range(count)]
    for index in tqdm(range(count), desc=f"drawing {split} faces", unit="face", mininterval=1):
        pixels[index] = np.asarray(draw_face(labels[index], index, seed, split, size))
    captions = [synthetic_text.caption(face, random.Random(f"{seed}/{split}/{i}")) for i, face in enumerate(labels)]
    return CaptionedPictures(pixels, captions, labels)


def corpus_pictures(path: str, config: str, size: int) -> tuple[CaptionedPictures, CaptionedPictures]:
    """The train split of a corpus, and 600 pictures of it to measure on, which are taken out of it.

    The caption is the last answer of each record; pictures are squeezed to `size` × `size` pixels. No other split
    is touched: what is kept for evaluation has not been seen by the tower.

    Raises:
        CorpusError: if there is no such corpus or config, or a record has no picture.
    """
    from datasets import Image as ImageFeature

    from datasets_scripts.corpus.loading import load_rows

    try:
        rows = load_rows(path, config, "train").cast_column("image", ImageFeature(decode=False)).shuffle(seed=0)
    except (ValueError, OSError) as error:
        raise CorpusError(f"--corpus {path} --config {config}: {error}") from None
    measured = min(600, len(rows) // 10)
    if not measured:
        raise CorpusError(f"--corpus {path}: {len(rows)} pictures are too few to learn to see from; give 10 or more")
    return _read(path, rows.skip(measured), size), _read(path, rows.take(measured), size)


def _read(path: str, rows: Any, size: int) -> CaptionedPictures:
    from facemllm_recipes.corpora import folders_of
    from modeling_facemllm.image_loading_facemllm import load_listed_image

    pixels = np.empty((len(rows), size, size, 3), np.uint8)
    captions, folders = [], folders_of(path)
    for number, row in enumerate(tqdm(rows, desc="reading pictures", unit="picture", mininterval=1)):
        if row["image"] is None:
            raise CorpusError(
                f"--corpus {path}: record {row['id']} has no picture to learn from; build it with its pictures"
            )
        picture = load_listed_image(row["image"], folders)
        pixels[number] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        captions.append(row["messages"][-1]["content"][-1]["text"])
    return CaptionedPictures(pixels, captions)


def ngrams(caption: str, longest: int) -> set[str]:
    """All runs of one to `longest` words of a caption, in lower case, none across the end of a clause."""
    found = set()
    for clause in re.split(r"[.,;:!?]| and ", caption.lower()):
        words = re.findall(r"[\w'+-]+", clause)
        for length in range(1, longest + 1):
            found.update(" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
    return found


def mirrored(caption: str) -> str:
    """The caption of the mirrored picture: left and right, which are the viewer's, change places."""
    sides = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"\b(left|right)\b", lambda word: sides[word[0]], caption, flags=re.IGNORECASE)


class NGramVocabulary:
    """The n-grams that are worth predicting: neither too rare to learn nor in almost every caption.

    A share of `rarest` to 0.9 of the training `captions` contain each; it has `longest` words at most.
    """

    def __init__(self, captions: Sequence[str], longest: int = 4, rarest: float = 0.02):
        self.longest = longest
        counts = Counter(ngram for caption in captions for ngram in ngrams(caption, longest))
        low, high = rarest * len(captions), 0.9 * len(captions)
        self.ngrams = sorted(ngram for ngram, count in counts.items() if low <= count <= high)
        self.index = {ngram: number for number, ngram in enumerate(self.ngrams)}
        self.shares = torch.tensor([counts[ngram] / len(captions) for ngram in self.ngrams])

    def __len__(self) -> int:
        return len(self.ngrams)

    def targets(self, captions: Iterable[str]) -> torch.Tensor:
        """Float32 of shape (captions, n-grams): 1 where the caption contains the n-gram, 0 elsewhere."""
        rows = [
            [self.index[ngram] for ngram in ngrams(caption, self.longest) if ngram in self.index]
            for caption in captions
        ]
        targets = torch.zeros(len(rows), len(self))
        for row, columns in enumerate(rows):
            targets[row, columns] = 1.0
        return targets


class NGramHead(nn.Module):
    """Features (batch, cells, width) to one logit per n-gram: it suffices that some cell speaks of it.

    Every cell is read with the same weights, as a projector will read it, and cells may divide the words among
    themselves, as tokens of a sentence do (docs/log.md compares this with other heads).
    """

    def __init__(self, width: int, vocabulary: NGramVocabulary):
        super().__init__()
        self.out = nn.Linear(width, len(vocabulary))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(vocabulary.shares))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(features).logsumexp(dim=1) - math.log(features.shape[1])


class VisionTraining:
    """Trains one tower on the pictures `train`; those of `held_out` measure it.

    Args:
        tower: a configuration, for random weights, or a tower with weights to start from.
        seed: of the weights, the order and the augmentation.
        augment: crops pictures, mirrors them (their captions too) and changes their light a little, at random.
        frozen: how many of the tower's first stages stay as they are: that saves most of their time.
        rarest: share of the captions that a phrase must be in to be learned.
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
    ):
        torch.manual_seed(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.vocabulary = NGramVocabulary(train.captions, longest=MAX_NGRAM, rarest=rarest)
        tower = tower if isinstance(tower, FaceMLLMVisionModel) else FaceMLLMVisionModel(tower)
        self.tower = tower.to(self.device)
        for stage in self.tower.stages[:frozen]:
            stage.requires_grad_(False)
        self.head = NGramHead(tower.config.hidden_size, self.vocabulary).to(self.device)
        self.optimizer = TowerOptimizer((self.tower, self.head), learning_rate)
        self.batch_size, self.augment = batch_size, augment
        self.steps = 0
        self._train, self._held_out = train, held_out
        self._targets = self.vocabulary.targets(train.captions)
        self._mirrored = self.vocabulary.targets(map(mirrored, train.captions)) if augment else None
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
        with tqdm(total=steps, desc="vision tower", unit="step", mininterval=1) as bar:
            self._steps(steps - steps // 3, bar)
            bar.set_postfix_str(f"explained {self.explained():.2f}")
            self.optimizer.cool_down(steps // 3)
            self._steps(steps // 3, bar)

    def measure(self) -> dict[str, Any]:
        """What the tower has reached on the held-out pictures, and what it was trained on.

        Raises:
            ThresholdMissed: if a tower of drawn faces is right less often than `REQUIRED_ACCURACY`.
        """
        measured = {
            "parameters": self.tower.num_parameters(),
            "steps": self.steps,
            "pictures": len(self._train),
            "fingerprint": hashlib.sha256("\n".join(self._train.captions[:1000]).encode()).hexdigest(),
            "ngrams": len(self.vocabulary),
            "explained": round(self.explained(), 3),
        }
        if self._held_out.labels:
            accuracy = self.attribute_accuracy()
            mean = fmean(accuracy.values())
            if mean < REQUIRED_ACCURACY:
                raise ThresholdMissed(
                    f"vision tower: accuracy {mean:.3f}, {REQUIRED_ACCURACY} is needed: draw more --faces"
                )
            measured |= {"mean_accuracy": round(mean, 3), "accuracy": accuracy}
        return measured

    def step(self) -> float:
        """One optimiser step; returns the mean binary cross-entropy per n-gram, in nats."""
        if len(self._queue) < self.batch_size:
            self._queue += torch.randperm(len(self._train), generator=self._order).tolist()
        chosen, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        seen, targets = pixel_values(self._train.pixels[chosen]), self._targets[chosen]
        if self.augment:
            mirror = torch.rand(len(chosen), generator=self._order) < 0.5
            seen = self._augmented(torch.where(mirror[:, None, None, None], seen.flip(-1), seen))
            targets = torch.where(mirror[:, None], self._mirrored[chosen], targets)
        logits = self.head(self.tower(seen.to(self.device)).last_hidden_state)
        loss = functional.binary_cross_entropy_with_logits(logits, targets.to(self.device))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    @torch.no_grad()
    def logits(self, pixels: np.ndarray) -> torch.Tensor:
        """Float32 of shape (pictures, n-grams), on the CPU; `pixels` as in `CaptionedPictures`."""
        parts = []
        for start in range(0, len(pixels), 128):
            seen = pixel_values(pixels[start : start + 128]).to(self.device)
            parts.append(self.head(self.tower(seen).last_hidden_state).cpu())
        return torch.cat(parts)

    def explained(self) -> float:
        """Share of the held-out captions' n-gram entropy that seeing removes: 0 if the tower sees nothing."""
        targets = self.vocabulary.targets(self._held_out.captions)
        blind = torch.logit(self.vocabulary.shares).expand_as(targets)
        seeing = functional.binary_cross_entropy_with_logits(self.logits(self._held_out.pixels), targets)
        return 1 - (seeing / functional.binary_cross_entropy_with_logits(blind, targets)).item()

    def attribute_accuracy(self) -> dict[str, float]:
        """For each attribute of drawn faces, how often the right value's phrases are raised most above their prior."""
        faces = self._held_out
        raised = self.logits(faces.pixels) - torch.logit(self.vocabulary.shares)
        accuracy = {}
        for name, wording in synthetic_text.WORDING.items():
            values = list(wording.predicates)
            scores = torch.stack([raised[:, self._phrases(wording.predicates[value])].mean(1) for value in values], 1)
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
        self.tower.cpu().eval().save_pretrained(out)
        default_image_processor(side).save_pretrained(out)

    def _steps(self, number: int, bar: tqdm) -> None:
        for _ in range(number):
            self.step()
            bar.update()

    def _phrases(self, predicates: Sequence[str]) -> list[int]:
        tails = [" ".join(predicate.split()[-MAX_NGRAM:]) for predicate in predicates]
        return [self.vocabulary.index[tail] for tail in tails if tail in self.vocabulary.index]

    def _augmented(self, seen: torch.Tensor) -> torch.Tensor:
        side, views = seen.shape[-1], []
        for picture in seen:
            scale, gain, shift = torch.rand(3, generator=self._order).tolist()
            width = round(side * (LEAST_CROP + (1 - LEAST_CROP) * scale))
            top, left = torch.randint(0, side - width + 1, (2,), generator=self._order).tolist()
            view = picture[None, :, top : top + width, left : left + width]
            view = functional.interpolate(view, (side, side), mode="bilinear", antialias=True)
            views.append(view * (0.9 + 0.2 * gain) + 0.2 * shift - 0.1)
        return torch.cat(views).clamp(-1, 1)


def pixel_values(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (batch, side, side, 3) to float32 (batch, 3, side, side) in [-1, 1], as SigLIP's image processor does."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
