"""A complete corpus in a folder: its counts and its files, checked before anybody relies on them."""

import os
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from datasets_scripts.files import read_json
from datasets_scripts.schema import CorpusError

from .card import pictures_carried, shows_web_pictures
from .shards import read_count
from .writing import BUILDING, CARD, MANIFEST, shard_name

# Licences under which a picture may be passed on, also cropped; "-nd" ones forbid the crop, "other" says nothing.
MAY_BE_PASSED_ON = re.compile(r"cc0-1\.0|cc-by(-nc)?(-sa)?-\d\.\d|mit|apache-2\.0|odc-by|odbl|pddl|cdla-permissive-.*")


@dataclass(frozen=True)
class CompleteCorpus:
    """What `writing.write_corpus` has finished in `folder`: `shards` and `others` are paths inside it."""

    folder: Path
    manifest: dict[str, Any]
    shards: tuple[str, ...]
    others: tuple[str, ...]  # files that are not the corpus's

    @property
    def configs(self) -> list[str]:
        return list(self.manifest["configs"])

    def why_not_to_pass_on(self) -> str | None:
        """Why it is not for others, by its sources and licences; None where it is."""
        if not self.manifest["people"]:
            return None
        pictures = pictures_carried(self.manifest)
        if shows_web_pictures(self.manifest):
            return f"carries {pictures:,} pictures of people from the web, which nobody has licensed"
        licenses = sorted({self.manifest["license"], *self.manifest["licenses"]})
        if closed := [license for license in licenses if not MAY_BE_PASSED_ON.fullmatch(license)]:
            what = f"{pictures:,} pictures of people" if pictures else "labels of people's faces"
            return f"carries {what} under terms that are no licence to pass them on ({', '.join(closed)})"
        return None


def open_corpus(folder: str | os.PathLike) -> CompleteCorpus:
    """The corpus in `folder`; every shard's size and footer are checked, not its pages.

    Raises `CorpusError` if it is not there, not finished, or if a shard is missing, cut off or of another build.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder: give the one that a corpus was built in (--out DIR)")
    if (folder / BUILDING).exists():
        raise CorpusError(f"{folder} holds an unfinished build: run the command that began it once more")
    for name in (CARD, MANIFEST):
        if not (folder / name).is_file():
            raise CorpusError(f"{folder} has no {name}, so it is not a complete corpus: build it with facemllm data")
    try:
        manifest = read_json(folder / MANIFEST)
        shards = {
            (config, split): [
                shard_name(config, split, index, counted["shards"]) for index in range(counted["shards"])
            ]
            for config, splits in manifest["configs"].items()
            for split, counted in splits.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{folder / MANIFEST} is damaged ({error!r}): build the corpus again") from error
    _check_shards(folder, manifest, shards)
    names = tuple(chain(*shards.values()))
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    others = tuple(name for name in files if name not in {CARD, MANIFEST, *names})
    strangers = [name for name in others if name.endswith(".parquet") and name.split("/")[0] in manifest["configs"]]
    if strangers:
        raise CorpusError(
            f"{folder / strangers[0]} is no shard of this corpus, but would be loaded with it: remove it"
        )
    return CompleteCorpus(folder, manifest, names, others)


def _check_shards(folder: Path, manifest: dict[str, Any], shards: dict[tuple[str, str], list[str]]) -> None:
    for shard in chain(*shards.values()):
        if not (folder / shard).is_file():
            raise CorpusError(f"{folder / shard} is missing: build the corpus again (--overwrite)")
        if read_count(folder / shard, manifest["fingerprint"]) is None:
            raise CorpusError(
                f"{folder / shard} is cut off, or of another build: build the corpus again (--overwrite)"
            )
    for (config, split), names in shards.items():
        size = sum((folder / shard).stat().st_size for shard in names)
        if size != (counted := manifest["configs"][config][split]["file_bytes"]):
            raise CorpusError(
                f"the shards of {config}/{split} in {folder} have {size:,} bytes, {MANIFEST} says {counted:,}: "
                "build the corpus again (--overwrite)"
            )
