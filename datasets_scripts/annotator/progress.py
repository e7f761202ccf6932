"""How far an annotation is, shown while other processes or machines work on it: read from the counts they write."""

import threading
from pathlib import Path
from typing import Any

from datasets_scripts.schema import CorpusError

from .answers import read_work, sum_counts
from .settings import Annotator


class Progress:
    """A bar on standard error, for as long as the context manager is entered: faces, rate, rejected answers, cost."""

    def __init__(self, out: Path, parts: int, annotator: Annotator, shown: bool):
        self._folder, self._parts, self._annotator, self._shown = out / "counts", parts, annotator, shown
        self._read: dict[str, tuple[int, dict[str, Any]]] = {}  # by file: when it was changed, and what is in it
        self._stop = threading.Event()
        self._jobs = self._words = ""

    def __enter__(self) -> "Progress":
        from tqdm import tqdm

        counts = self._counts()
        done = sum(one["faces"] for one in counts if one["complete"])
        self._bar = tqdm(desc="annotating", unit="face", initial=done, disable=not self._shown, mininterval=0.5)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        if self._shown:
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        if self._shown:
            self._thread.join()
            self._show()
        self._bar.close()

    def show(self, words: str) -> None:
        """Show these words too: what a cluster says of its jobs."""
        self._jobs = words

    def _follow(self) -> None:
        while not self._stop.wait(1.0):
            self._show()

    def _show(self) -> None:
        counts = self._counts()
        total = sum_counts(counts)
        cost = self._annotator.cost(total["input_tokens"], total["output_tokens"])
        shown = {"parts": f"{sum(one['complete'] for one in counts)}/{self._parts}"}
        shown["rejected"] = sum(total["rejected"].values())
        shown |= {} if cost is None else {"cost": f"{cost:.2f}"}
        trouble = next((one["trouble"] for one in counts if not one["complete"] and one["trouble"]), "")
        words = ", ".join([*(f"{k} {v}" for k, v in shown.items()), *filter(None, (self._jobs, trouble))])
        changed, self._words = words != self._words, words
        self._bar.set_postfix_str(words, False)
        self._bar.update(max(0, total["faces"] - self._bar.n))
        if changed:  # the bar itself waits for the next face, which may never come
            self._bar.refresh()

    def _counts(self) -> list[dict[str, Any]]:
        for path in self._folder.glob("*.json") if self._folder.exists() else ():
            changed = path.stat().st_mtime_ns
            if self._read.get(path.name, (None,))[0] != changed:
                try:
                    self._read[path.name] = changed, read_work(path)
                except CorpusError:  # half a network file system's truth
                    continue
        return [counts for _, counts in self._read.values()]
