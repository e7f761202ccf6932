"""What a tower learns from captions: which words and short phrases a picture's caption contains."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from .pictures import CaptionedPictures

MAX_NGRAM = 4


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


class PhraseObjective(nn.Module):
    """Features (batch, cells, width) to one logit per n-gram: it suffices that some cell speaks of it.

    Every cell is read with the same weights, as a projector will read it, and cells may divide the words among
    themselves, as tokens of a sentence do (docs/log.md compares this with other heads).
    """

    def __init__(self, width: int, captions: Sequence[str], rarest: float = 0.02):
        super().__init__()
        self.vocabulary = NGramVocabulary(captions, longest=MAX_NGRAM, rarest=rarest)
        self.out = nn.Linear(width, len(self.vocabulary))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(self.vocabulary.shares))

    def targets(self, pictures: "CaptionedPictures", mirror: bool = False) -> torch.Tensor:
        """As `NGramVocabulary.targets`; of the mirrored pictures, if so."""
        return self.vocabulary.targets(map(mirrored, pictures.captions) if mirror else pictures.captions)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(features).logsumexp(dim=1) - math.log(features.shape[1])

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean binary cross-entropy per n-gram, in nats."""
        return functional.binary_cross_entropy_with_logits(logits, targets)

    def figures(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        """`explained`: the share of the n-grams' entropy that seeing removes: 0 if the tower sees nothing."""
        blind = self.loss(torch.logit(self.vocabulary.shares).expand_as(targets), targets)
        return {"ngrams": len(self.vocabulary), "explained": round(1 - (self.loss(logits, targets) / blind).item(), 3)}

    def phrases(self, predicates: Sequence[str]) -> list[int]:
        """The numbers of the n-grams that the predicates end with."""
        tails = [" ".join(predicate.split()[-MAX_NGRAM:]) for predicate in predicates]
        return [self.vocabulary.index[tail] for tail in tails if tail in self.vocabulary.index]
