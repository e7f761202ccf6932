"""What the vision tower learns from captions: which words and short phrases a face's caption contains.

No label is involved, only the captions' text, so any corpus of captioned pictures can teach a tower.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch

_WORD = re.compile(r"[\w'+-]+")


def ngrams(caption: str, longest: int) -> set[str]:
    """All runs of one to `longest` words of a caption, in lower case, none across the end of a clause."""
    found = set()
    for clause in re.split(r"[.,;:!?]| and ", caption.lower()):
        words = _WORD.findall(clause)
        for length in range(1, longest + 1):
            found.update(" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
    return found


class NGramVocabulary:
    """The n-grams that are worth predicting: neither too rare to learn nor in almost every caption.

    Args:
        captions: the training captions.
        longest: most words of an n-gram.
        rarest: smallest share of captions that must contain an n-gram.
        commonest: largest share that may.
    """

    def __init__(self, captions: Sequence[str], longest: int = 4, rarest: float = 0.02, commonest: float = 0.9):
        self.longest = longest
        counts = Counter(ngram for caption in captions for ngram in ngrams(caption, longest))
        low, high = rarest * len(captions), commonest * len(captions)
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
