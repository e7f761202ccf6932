"""Closed questions in tokens: their prompts and answers, and the trees they are packed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ClosedQuestion:
    """A question with the answers it allows.

    Args:
        text (`str`): the question, as the user's turn says it.
        options (`tuple[str, ...]`): two or more distinct answers, as the assistant's turn would say them.

    Raises:
        ValueError: when there are fewer than two options, or one is empty or given twice.
    """

    text: str
    options: tuple[str, ...]

    def __post_init__(self):
        object.__setattr__(self, "options", tuple(self.options))
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise ValueError(f"options={self.options!r} of {self.text!r}: give two or more distinct answers")
        for option in self.options:
            if not isinstance(option, str) or not option.strip():
                raise ValueError(f"options of {self.text!r}: {option!r} is no text to answer with")


@dataclass(frozen=True)
class AskedQuestion:
    """The tokens of one question: of its prompt, with one image token per image, and of each answer."""

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


def question_messages(text: str, images: Sequence[Any], system: str | None) -> list[dict]:
    """The chat messages of a question about `images`, which are images or, where only text is rendered, `None`."""
    parts = [{"type": "image"} if image is None else {"type": "image", "image": image} for image in images]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    return messages


def ask(
    processor: Any,
    question: ClosedQuestion,
    num_images: int = 1,
    *,
    system: str | None = None,
    end_of_turn: bool = True,
    end_tokens: frozenset[int] = frozenset(),
) -> AskedQuestion:
    """Tokenise a question and its answers as the chat template writes them.

    An answer is what the template adds for the assistant's turn, up to and with (`end_of_turn`) the token that ends
    it. Where the tokens of prompt and answer together do not begin with those of the prompt, the answer is tokenised
    by itself.

    Args:
        end_tokens: ids that end a turn, the tokenizer's `eos_token_id` besides.
    """
    tokenizer = processor.tokenizer
    messages = question_messages(question.text, [None] * num_images, system)
    prompt_text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    texts = [prompt_text]
    for option in question.options:
        turn = {"role": "assistant", "content": [{"type": "text", "text": option}]}
        texts.append(processor.apply_chat_template([*messages, turn], tokenize=False))
    # As `apply_chat_template(tokenize=True)` does: a template that writes the first token itself gets no other.
    starts_itself = tokenizer.bos_token is not None and prompt_text.startswith(tokenizer.bos_token)
    prompt, *whole = tokenizer(texts, add_special_tokens=not starts_itself)["input_ids"]

    ends = end_tokens | ({tokenizer.eos_token_id} - {None})
    answers = []
    for option, tokens in zip(question.options, whole, strict=True):
        rest = tokens[len(prompt) :] if tokens[: len(prompt)] == prompt else []
        end = next((index for index, token in enumerate(rest) if token in ends), None)
        if end:
            answer = rest[: end + 1]
        else:
            answer = [*tokenizer(option, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        answers.append(tuple(answer if end_of_turn and answer[-1] is not None else answer[:-1]))
    return AskedQuestion(tuple(prompt), tuple(answers))


@dataclass
class TokenTree:
    """Token sequences that continue one prefix, with their common beginnings held once.

    A node is a token that the model has to read; `parents` and `depths` say which node stands before it (-1: the
    prefix) and how many. The last token of a sequence is only predicted, so it is no node.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    predicted: list[tuple[int, int, int]] = field(default_factory=list)
    """For every token of an answer: the answer's number, the node that predicts the token (-1: the prefix), its id."""
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
        for index, token in enumerate(sequence):
            if index >= len(sequence) - answer_length:
                self.predicted.append((answer, node, token))
            if index == len(sequence) - 1:
                return
            child = self._children.get((node, token))
            if child is None:
                child = self._children[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(index)
            node = child

    def path(self, node: int) -> list[int]:
        """The tokens from the prefix to `node`, which is the last."""
        tokens = []
        while node >= 0:
            tokens.append(self.tokens[node])
            node = self.parents[node]
        return tokens[::-1]

    def visible(self, size: int, window: int | None = None) -> np.ndarray:
        """Which nodes a node sees: itself and those before it, bool `(size, size)` with unused nodes at the end.

        Args:
            window (`int`): how many tokens, itself included, a sliding layer sees.
        """
        seen = np.eye(size, dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node, : parent + 1] |= seen[parent, : parent + 1]
        if window is not None:
            depths = np.zeros(size, dtype=np.int64)
            depths[: len(self)] = self.depths
            seen &= depths[:, None] - depths[None, :] < window
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


__all__ = ["AskedQuestion", "ClosedQuestion", "TokenTree", "ask", "grow_trees", "question_messages"]
