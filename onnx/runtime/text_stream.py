"""Tokens → text as they come: whole characters only, and nothing that might become a stop string."""

from collections.abc import Callable, Sequence

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
