"""Where an answer ends, and its text as the tokens come.

It ends at the model's own end of turn, at a given token, or behind a given string. Its text comes in whole characters
only, and without what might become a stop string.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

HALF_A_CHARACTER = "\ufffd"


class TextStream:
    """The text of a growing row of tokens.

    Args:
        decode: the text of a list of token ids.
        stop: strings that end the text; neither they nor what follows is given out.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()):
        self.decode, self.stop = decode, tuple(stop)
        self.stopped = False
        self._tokens: list[int] = []
        self._shown = self._settled = 0  # tokens: up to the last piece's, and up to those before
        self._held = ""

    def add(self, token: int) -> str:
        """The text that is certain after one more token; may be empty."""
        self._tokens.append(token)
        if self.stopped:
            return ""
        # A token's text may depend on those before it (a space at the beginning): decode with the last piece's.
        before = self.decode(self._tokens[self._settled : self._shown])
        text = self.decode(self._tokens[self._settled :])
        if text.endswith(HALF_A_CHARACTER) or len(text) <= len(before):
            return ""
        self._settled, self._shown = self._shown, len(self._tokens)
        return self._release(self._held + text[len(before) :], final=False)

    def end(self) -> str:
        """What was held back, when no token follows."""
        if self.stopped:
            return ""
        before = self.decode(self._tokens[self._settled : self._shown])
        return self._release(self._held + self.decode(self._tokens[self._settled :])[len(before) :], final=True)

    def _release(self, text: str, final: bool) -> str:
        found = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        held = 0 if final else max((_overlap(text, stop) for stop in self.stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


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
