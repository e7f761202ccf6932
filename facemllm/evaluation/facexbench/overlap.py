"""Which questions of FaceXBench show pictures that a model was trained on.

The public copy renames every picture (`question_12_3.png`), so that no id or file name of a training set is found in
it. Pictures are compared by what they show instead, or all questions of a source dataset are taken out.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemllm.cli import UserError

from .reader import FaceXBench

SIDE = 16
BRIGHTER = 2
"""Grey levels that count as brighter: less is the noise of an even background."""
MAX_DIFFERENT_BITS = 16
"""Of 256. 500 faces of FairFace, encoded as JPEG of quality 50, halved, doubled or set to 112 pixels, differ from
themselves in at most 16 bits; two pictures of 3,000 differ in 24 or more, but for one that is there twice."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
COMPARED_AT_ONCE = 256


def find_overlap(bench: FaceXBench, excludes: Sequence[str]) -> dict[str, list[str]]:
    """Each of `excludes` to the ids of the questions that it takes out.

    Args:
        excludes: a source dataset of the benchmark (`fairface`, `raf-db`), which takes out all its questions; a
            corpus or a folder of pictures, which takes out the questions that show one of them, also when it was
            encoded or scaled anew, but not when it was cropped otherwise; or a text file with a question's id or
            picture path per line.

    Raises:
        UserError: for what is none of these, and for a file or corpus that cannot take out anything.
    """
    return {exclude: _excluded_by(exclude, bench) for exclude in excludes}


def fingerprint(image: Image.Image) -> np.ndarray:
    """Where the picture, scaled to 17 by 16 greys, gets brighter to the right: 256 bits as `uint64` of shape (4,).

    The difference hash of N. Krawetz (2013), with more bits than his 64.
    """
    grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1] + BRIGHTER).view(np.uint64)


def _excluded_by(exclude: str, bench: FaceXBench) -> list[str]:
    path = Path(exclude).expanduser()
    if _plain(exclude) in map(_plain, bench.datasets) and not path.exists():
        return [question.id for question in bench.questions if _plain(question.file.dataset) == _plain(exclude)]
    if path.is_file():
        return _listed_in(path, bench)
    if path.is_dir() and next(path.rglob("*.parquet"), None) is None:
        files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in PICTURES)
        return _showing(files, exclude, bench)
    from facemllm.inference.hub_names import could_be_hub_id

    if not path.is_dir() and not could_be_hub_id(exclude):
        raise UserError(
            f"--exclude {exclude}: is no corpus, folder or file here and no dataset of the benchmark; it has "
            f"{', '.join(sorted(bench.datasets))}"
        )
    return _showing(_rows_of_corpus(str(path) if path.is_dir() else exclude), exclude, bench)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter == "+")


def _listed_in(path: Path, bench: FaceXBench) -> list[str]:
    try:
        lines = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except UnicodeDecodeError as error:
        raise UserError(f"--exclude {path}: is no text file; give ids of questions, one per line") from error
    found = [question.id for question in bench.questions if not lines.isdisjoint((question.id, *question.image_paths))]
    if not found:
        raise UserError(
            f"--exclude {path}: none of its {len(lines)} lines is the id of a question or the path of one of its "
            "pictures. The benchmark renames the pictures of its sources: to exclude faces by their names, give the "
            "folder with their pictures, or the whole dataset, such as --exclude fairface"
        )
    return found


def _showing(sources: Iterable[Any], exclude: str, bench: FaceXBench) -> list[str]:
    """The questions that show a picture of `sources`, each what `load_image` reads."""
    from tqdm import tqdm

    asked = [question for question in bench.questions if question.file.images != "zero"]
    known = [
        (print_, question.id)
        for question in tqdm(asked, desc="fingerprints of the benchmark", unit="question")
        for print_ in _fingerprints_of(question, bench)
    ]
    prints, shown, count = np.array([print_ for print_, _ in known], np.uint64).reshape(-1, 4), set(), 0
    # One iterator for all batches: tqdm begins anew each time it is iterated, and closes what it reads.
    pictures = iter(tqdm(_readable(sources, exclude), desc=f"comparing {exclude}", unit="picture"))
    while batch := list(islice(map(fingerprint, pictures), COMPARED_AT_ONCE)):
        count += len(batch)
        shown |= _near(np.array(batch), prints)
    if not count:
        raise UserError(
            f"--exclude {exclude}: holds no picture to compare; exclude a whole dataset by its name, such as fairface"
        )
    ids = {known[place][1] for place in shown}
    print(f"--exclude {exclude}: {len(ids)} questions show one of its {count} pictures", file=sys.stderr)
    return [question.id for question in asked if question.id in ids]


def _fingerprints_of(question: Any, bench: FaceXBench) -> list[np.ndarray]:
    try:
        return [fingerprint(image) for image in bench.load_images(question)]
    except ValueError:
        return []  # reported and counted when the question is asked


def _near(batch: np.ndarray, known: np.ndarray) -> set[int]:
    """Places in `known` that some row of `batch` is near to; both `uint64` of shape (n, 4)."""
    # Word by word: the full (batch, known, 4) table of a whole benchmark would take 80 MB.
    different = sum(
        np.bitwise_count(batch[:, None, word] ^ known[None, :, word]).astype(np.int16) for word in range(4)
    )
    return set(np.flatnonzero((different <= MAX_DIFFERENT_BITS).any(0)).tolist())


def _readable(sources: Iterable[Any], exclude: str) -> Iterator[Image.Image]:
    from facemllm_recipes.corpora import folders_of
    from modeling_facemllm.image_loading_facemllm import load_image, load_listed_image

    broken, folders = 0, folders_of(exclude)
    for source in sources:
        try:
            yield load_listed_image(source, folders) if isinstance(source, dict) else load_image(source)
        except ValueError:
            broken += 1
    if broken:
        print(f"--exclude {exclude}: {broken} pictures cannot be read and are not compared", file=sys.stderr)


def _rows_of_corpus(corpus: str) -> Iterator[dict[str, Any]]:
    """The pictures of every training split as they are stored, read shard by shard."""
    from pyarrow.parquet import ParquetFile

    for shard in sorted(_folder_of(corpus).rglob("*train*.parquet")):
        with ParquetFile(shard) as file:
            if "image" not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(batch_size=COMPARED_AT_ONCE, columns=["image"]):
                yield from (picture.as_py() for picture in batch.column("image") if picture.is_valid)


def _folder_of(corpus: str) -> Path:
    if Path(corpus).is_dir():
        return Path(corpus)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(corpus, repo_type="dataset", allow_patterns="*train*.parquet"))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(f"--exclude {corpus}: no such corpus here or on the Hub ({type(error).__name__})") from error
