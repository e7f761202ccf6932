"""A set of very many names, to see whether one was there before: ten million take 80 MB."""

from hashlib import blake2b

import numpy as np


class HashedNames:
    """A set of names in eight bytes each.

    Two of ten million names are taken for one with a probability of three in a million.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._new: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._new)

    def __contains__(self, name: str | bytes) -> bool:
        return self._holds(hash_name(name))

    def add(self, name: str | bytes) -> bool:
        """Put a name in; whether it was not there."""
        value = hash_name(name)
        if self._holds(value):
            return False
        self._new.add(value)
        if len(self._new) > max(4_096, len(self._sorted) // 16):
            new = np.fromiter(self._new, np.uint64, len(self._new))
            self._sorted = np.concatenate([self._sorted, new])
            self._sorted.sort()
            self._new = set()
        return True

    def _holds(self, value: int) -> bool:
        if value in self._new:
            return True
        at = np.searchsorted(self._sorted, np.uint64(value))
        return bool(at < len(self._sorted) and self._sorted[at] == value)


def hash_name(name: str | bytes) -> int:
    """64 bits of a name's hash."""
    data = name.encode() if isinstance(name, str) else name
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
