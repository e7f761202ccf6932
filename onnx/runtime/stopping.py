"""When an answer ends: at the model's own end of turn, at a given token, or behind a given string."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .text_stream import TextStream


def split_stop(stop: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Strings and token ids, of one or a list of either.

    Raises:
        ValueError: when something is neither, or an empty string.
    """
    if stop is None:
        return (), ()
    given = [stop] if isinstance(stop, (str, int, np.integer)) else list(stop)
    for one in given:
        if isinstance(one, bool) or not isinstance(one, (str, int, np.integer)) or one == "":
            raise ValueError(f"stop={stop!r}: give strings and token ids, or a list of them")
    strings = tuple(one for one in given if isinstance(one, str))
    return strings, tuple(int(one) for one in given if not isinstance(one, str))


class EndOfAnswers:
    """Follows the rows of a batch until each has ended.

    Args:
        batch: how many rows there are.
        decode: the text of a list of token ids.
        strings, token_ids: what ends a row; it belongs to the row still.
        pad_token_id: what a row that has ended goes on with.
    """

    def __init__(
        self,
        batch: int,
        decode: Callable[[list[int]], str],
        strings: Sequence[str],
        token_ids: Sequence[int],
        pad_token_id: int,
    ):
        self.ended = [False] * batch
        self.pad_token_id = pad_token_id
        self._token_ids = frozenset(token_ids)
        self._texts = [TextStream(decode, strings) for _ in range(batch)] if strings else []

    @property
    def all(self) -> bool:
        return all(self.ended)

    def add(self, tokens: np.ndarray) -> np.ndarray:
        """The next tokens, int64 `(batch,)`, with padding in the rows that had ended before."""
        if True in self.ended:
            tokens = np.where(self.ended, self.pad_token_id, tokens)
        # Lists, because a call of NumPy costs more than a row does.
        for row, token in enumerate(tokens.tolist()):
            if self.ended[row]:
                continue
            if self._texts:
                self._texts[row].add(token)
            self.ended[row] = token in self._token_ids or bool(self._texts and self._texts[row].stopped)
        return tokens
