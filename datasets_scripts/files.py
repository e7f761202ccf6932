"""Which settings of a folder's earlier work differ from those of now, in words for an error."""

from itertools import chain, islice
from typing import Any

MAX_SHOWN = 3


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """The settings that differ, three at most, as `shard_rows: 500 there, 2000 now`.

    Both are in JSON's types; a tuple of `wanted` is the list that it is written as.
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*found, *wanted])
        nested = (differences(found.get(key), wanted.get(key), f"{name}.{key}".strip(".")) for key in keys)
        return list(islice(chain.from_iterable(nested), MAX_SHOWN))
    wanted = list(wanted) if isinstance(wanted, tuple) else wanted
    if found == wanted:
        return []
    there, now = (str(value)[:40] if not isinstance(value, dict) else "..." for value in (found, wanted))
    return [f"{name}: {there} there, {now} now"]
