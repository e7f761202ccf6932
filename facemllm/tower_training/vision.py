"""The vision tower: convolutions and two transformer layers that learn to see from captions.

The tower is trained to predict which words and phrases the caption of a picture contains. It gets no labels: any
corpus of captioned pictures will do.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from datasets_scripts import synthetic_text
from datasets_scripts.schema import CorpusError
from datasets_scripts.synthetic_faces import draw_face, sample_labels
from modeling_facemllm import FaceMLLMVisionConfig, FaceMLLMVisionModel

from .ngrams import NGramVocabulary
from .optimizers import TowerOptimizer

LONGEST_NGRAM = 4


@dataclass
class CaptionedPictures:
    """Pictures, uint8 of shape (pictures, side, side, 3), each with a caption and, where known, its labels."""

    pixels: np.ndarray
    captions: list[str]
    labels: list[dict[str, str | None]] | None = None

    def __len__(self) -> int:
        return len(self.captions)


def drawn_faces(count: int, split: str, seed: int, size: int = 64) -> CaptionedPictures:
    """The first ``count`` drawn faces of a split, captioned."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    labels = [sample_labels(index, seed, split) for index in range(count)]
    for index in tqdm(range(count), desc=f"drawing {split} faces", unit="face", mininterval=1):
        pixels[index] = np.asarray(draw_face(labels[index], index, seed, split, size))
    captions = [synthetic_text.caption(face, random.Random(f"{seed}/{split}/{i}")) for i, face in enumerate(labels)]
    return CaptionedPictures(pixels, captions, labels)


def corpus_pictures(folder: str, config: str, split: str, size: int) -> CaptionedPictures:
    """The pictures of a corpus with the last answer of each record as caption, squeezed to ``size`` × ``size`` pixels.

    Raises:
        CorpusError: if the folder has no such config or split, or a record has no picture.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(folder, config, split=split)
    except (ValueError, FileNotFoundError) as error:
        raise CorpusError(f"--corpus {folder}: {error}") from None
    pixels = np.empty((len(rows), size, size, 3), np.uint8)
    captions = []
    for number, row in enumerate(tqdm(rows, desc=f"reading {split}", unit="picture", mininterval=1)):
        if row["image"] is None:
            raise CorpusError(f"--corpus {folder}: record {row['id']} has no picture to learn from")
        picture = ImageOps.exif_transpose(row["image"]).convert("RGB")
        pixels[number] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        captions.append(row["messages"][-1]["content"][-1]["text"])
    return CaptionedPictures(pixels, captions)


class NGramHead(nn.Module):
    """Features (batch, cells, width) to one logit per n-gram: a few learned places to look at, then a linear layer."""

    def __init__(self, width: int, vocabulary: NGramVocabulary, places: int = 8):
        super().__init__()
        self.look = nn.Linear(width, places)
        self.out = nn.Linear(width * places, len(vocabulary))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(vocabulary.shares))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        attention = self.look(features).softmax(dim=1)  # (batch, cells, places)
        return self.out((attention.transpose(1, 2) @ features).flatten(1))


class VisionTraining:
    """Trains one tower on captioned pictures.

    Args:
        config: the tower's shape.
        train: pictures to learn from.
        seed: of the weights, the order and the augmentation.
        learning_rate: peak rate.
        batch_size: pictures per step.
        augment: mirror and shift pictures at random; only for captions that say nothing of left and right.
    """

    def __init__(
        self,
        config: FaceMLLMVisionConfig,
        train: CaptionedPictures,
        seed: int = 0,
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        augment: bool = False,
    ):
        torch.manual_seed(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.vocabulary = NGramVocabulary(train.captions, longest=LONGEST_NGRAM)
        self.tower = FaceMLLMVisionModel(config).to(self.device)
        self.head = NGramHead(config.hidden_size, self.vocabulary).to(self.device)
        self.optimizer = TowerOptimizer((self.tower, self.head), learning_rate)
        self.batch_size, self.augment = batch_size, augment
        self._train = train
        self._targets = self.vocabulary.targets(train.captions)
        self._order = torch.Generator().manual_seed(seed)
        self._queue: list[int] = []

    def step(self) -> float:
        """One optimiser step; returns the mean binary cross-entropy per n-gram, in nats."""
        if len(self._queue) < self.batch_size:
            self._queue += torch.randperm(len(self._train), generator=self._order).tolist()
        chosen, self._queue = self._queue[: self.batch_size], self._queue[self.batch_size :]
        pixel_values = self._pixel_values(self._train.pixels[chosen])
        if self.augment:
            pixel_values = self._augmented(pixel_values)
        logits = self.head(self.tower(pixel_values).last_hidden_state)
        loss = functional.binary_cross_entropy_with_logits(logits, self._targets[chosen].to(self.device))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def logits(self, pixels: np.ndarray) -> torch.Tensor:
        """Float32 of shape (pictures, n-grams), on the CPU; ``pixels`` as in `CaptionedPictures`."""
        parts = []
        for start in range(0, len(pixels), 128):
            features = self.tower(self._pixel_values(pixels[start : start + 128])).last_hidden_state
            parts.append(self.head(features).cpu())
        return torch.cat(parts)

    def explained(self, pictures: CaptionedPictures) -> float:
        """Share of the captions' n-gram entropy that looking at the pictures removes: 0 if the tower sees nothing."""
        targets = self.vocabulary.targets(pictures.captions)
        blind = torch.logit(self.vocabulary.shares).expand_as(targets)
        seeing = functional.binary_cross_entropy_with_logits(self.logits(pictures.pixels), targets)
        return 1 - (seeing / functional.binary_cross_entropy_with_logits(blind, targets)).item()

    def attribute_accuracy(self, faces: CaptionedPictures) -> dict[str, float]:
        """For each attribute of drawn faces, how often the right value's phrases are raised most above their prior."""
        raised = self.logits(faces.pixels) - torch.logit(self.vocabulary.shares)
        accuracy = {}
        for name, wording in synthetic_text.WORDING.items():
            values = list(wording.predicates)
            scores = torch.stack([raised[:, self._phrases(wording.predicates[value])].mean(1) for value in values], 1)
            guesses = [values[number] for number in scores.argmax(1).tolist()]
            pairs = [(guess, face[name]) for guess, face in zip(guesses, faces.labels, strict=True) if face[name]]
            accuracy[name] = sum(guess == value for guess, value in pairs) / len(pairs)
        return accuracy

    def save(self, out: Path) -> None:
        """Write the tower with the settings of its image processor into the folder ``out``."""
        from transformers.models.siglip.image_processing_siglip import SiglipImageProcessor

        side = self.tower.config.image_size
        self.tower.cpu().eval().save_pretrained(out)
        SiglipImageProcessor(size={"height": side, "width": side}).save_pretrained(out)

    def _phrases(self, predicates: Sequence[str]) -> list[int]:
        tails = [" ".join(predicate.split()[-LONGEST_NGRAM:]) for predicate in predicates]
        return [self.vocabulary.index[tail] for tail in tails if tail in self.vocabulary.index]

    def _pixel_values(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 (batch, side, side, 3) to float32 (batch, 3, side, side) in [-1, 1], as SigLIP's processor does."""
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _augmented(self, pixel_values: torch.Tensor) -> torch.Tensor:
        shift = pixel_values.shape[-1] // 12
        padded = functional.pad(pixel_values, (shift,) * 4, mode="replicate")
        side = pixel_values.shape[-1]
        views = []
        for picture in padded:
            top, left = torch.randint(0, 2 * shift + 1, (2,), generator=self._order).tolist()
            view = picture[:, top : top + side, left : left + side]
            views.append(view.flip(-1) if torch.rand((), generator=self._order) < 0.5 else view)
        return torch.stack(views)
