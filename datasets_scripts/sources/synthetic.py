"""The drawn faces as a source that several processes can read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from datasets_scripts.schema import CorpusError

CONFIGS = ("captions", "vqa", "face_tasks", "text", "zero_shot")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DrawnFaces:
    """``count`` records of one config and split of the synthetic corpus; pictures have ``size`` pixels a side."""

    config: str
    split: str
    count: int
    seed: int = 0
    size: int = 64

    def __post_init__(self) -> None:
        if self.config not in CONFIGS:
            raise CorpusError(f"config={self.config!r}: the synthetic corpus has {', '.join(CONFIGS)}")
        if self.split not in SPLITS:
            raise CorpusError(f"split={self.split!r}: the synthetic corpus has {', '.join(SPLITS)}")
        for name in ("count", "size"):
            if getattr(self, name) < 1:
                raise CorpusError(f"{name}={getattr(self, name)}: give 1 or more")

    def __len__(self) -> int:
        return self.count

    def records(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The records ``start`` to ``stop``; each depends on its index alone, so any part can be drawn anywhere."""
        from datasets_scripts.synthetic import iter_records

        return iter_records(self.config, self.split, stop - start, seed=self.seed, size=self.size, start=start)

    def describe(self) -> dict[str, Any]:
        """What the records depend on, in JSON's types: part of the fingerprint of a build."""
        return {"name": "synthetic", **asdict(self)}
