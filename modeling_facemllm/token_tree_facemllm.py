"""The tree that all questions about a face form: their tokens in one row, and what each token of it sees.

The image and what all prompts begin with, the prefix, stand first. The rest of every question and of its answers
follows in one row, in which a token sees the prefix and what precedes it on its own branch, at the position it
would have if its question were asked alone:

    prefix            | row: Smile ? yes | no | Glasses ? …          (answers' last tokens are only predicted)
    positions 0 … p-1 |      p  p+1  p+2 p+2    p      p+1

Nothing here needs torch: the ONNX runtime packs the same rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .closed_questions_facemllm import TokenizedQuestion


class CannotPack(Exception):
    """This model, or these prompts, have to be scored one question at a time."""


@dataclass
class TokenTree:
    """Token sequences that continue one prefix, with their common beginnings held once.

    A node is a token that the model has to read; `parents` and `depths` say which node precedes it (-1: the
    prefix) and how many. The last token of a sequence is only predicted, so it is no node.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    predicted: list[tuple[int, int, int]] = field(default_factory=list)
    """For every token of an answer: the node that predicts it (-1: the prefix), its id, the answer's number."""
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def growth(self, sequence: Sequence[int]) -> int:
        """How many nodes `sequence` would add."""
        node, known = -1, 0
        for token in sequence[:-1]:
            node = self._children.get((node, token))
            if node is None:
                break
            known += 1
        return len(sequence) - 1 - known

    def add(self, sequence: Sequence[int], answer: int, answer_length: int) -> None:
        """Add the sequence whose last `answer_length` tokens are the answer number `answer`."""
        node = -1
        for depth, token in enumerate(sequence):
            if depth >= len(sequence) - answer_length:
                self.predicted.append((node, token, answer))
            if depth == len(sequence) - 1:
                return
            child = self._children.setdefault((node, token), len(self.tokens))
            if child == len(self.tokens):
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = child

    def path(self, node: int) -> list[int]:
        """The tokens from the prefix to `node`, which is the last."""
        tokens = []
        while node >= 0:
            tokens.append(self.tokens[node])
            node = self.parents[node]
        return tokens[::-1]

    def visible(self, size: int, prefix: int, window: int | None) -> np.ndarray:
        """What each node sees of the prefix and of the row: bool `(size, prefix + size)`, unused nodes at the end.

        Args:
            window (`int`): how many tokens, itself included, a layer with a sliding window sees.
        """
        seen = np.ones((size, prefix + size), dtype=bool)
        seen[:, prefix:] = np.eye(size, dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node, prefix : prefix + node] |= seen[parent, prefix : prefix + node]
        if window is not None:
            positions = np.array([*range(prefix), *(prefix + depth for depth in self.depths)])
            positions = np.concatenate([positions, np.full(size - len(self), prefix)])
            seen &= positions[prefix:, None] - positions[None, :] < window
        return seen


def grow_trees(sequences: Sequence[tuple[Sequence[int], int]], max_tokens: int) -> list[TokenTree]:
    """Trees of at most `max_tokens` nodes (more where one sequence alone is longer) that hold all sequences in order.

    Args:
        sequences: for each answer, the tokens after the prefix and how many of them, at the end, are the answer.
    """
    trees = [TokenTree()]
    for number, (sequence, answer_length) in enumerate(sequences):
        if trees[-1].tokens and len(trees[-1]) + trees[-1].growth(sequence) > max_tokens:
            trees.append(TokenTree())
        trees[-1].add(sequence, number, answer_length)
    return trees


def pack_prompts(
    asked: Sequence[Sequence[TokenizedQuestion]], image_token: int, max_tokens: int
) -> tuple[tuple[int, ...], list[list[TokenTree]]]:
    """What all prompts begin with, and for each face the trees of what follows.

    Args:
        asked: the questions of each face, with as many image tokens as their images take.
        max_tokens: nodes of a tree, see [`grow_trees`].

    Raises:
        CannotPack: when the prompts have no beginning in common, or an image comes after it.
    """
    prompts = [one.prompt for theirs in asked for one in theirs]
    length = _common_length(prompts)
    if not length:
        raise CannotPack("the prompts have not even their first token in common")
    if any(image_token in prompt[length:] for prompt in prompts):
        raise CannotPack("the chat template puts the question before the image")
    trees = [
        grow_trees(
            [(one.prompt[length:] + answer, len(answer)) for one in theirs for answer in one.answers], max_tokens
        )
        for theirs in asked
    ]
    return prompts[0][:length], trees


def _common_length(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with."""
    # What the first and the last in order begin with, all in between begin with.
    first, last = min(sequences), max(sequences)
    pairs = zip(first, last, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last)))
