"""The pictures that a vision tower learns from: drawn faces, or those of a corpus, with captions and labels."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import distributed
from tqdm import tqdm

from datasets_scripts.schema import CorpusError
from datasets_scripts.synthetic import text as synthetic_text
from datasets_scripts.synthetic.faces import draw_face, sample_labels

MEASURED = 600  # pictures of a corpus


@dataclass
class CaptionedPictures:
    """Pictures, uint8 of shape (pictures, side, side, 3), each with a caption and its labels.

    The labels are those of a corpus's records, or, of drawn faces, their attributes.
    """

    pixels: np.ndarray
    captions: list[str]
    labels: list[Mapping[str, Any]]
    drawn: bool = False

    def __len__(self) -> int:
        return len(self.captions)


def drawn_faces(count: int, split: str, seed: int, size: int = 64) -> CaptionedPictures:
    """The first `count` drawn faces of a split, captioned."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    labels = [sample_labels(index, seed, split) for index in range(count)]
    for index in tqdm(range(count), desc=f"drawing {split} faces", unit="face", mininterval=1):
        pixels[index] = np.asarray(draw_face(labels[index], index, seed, split, size))
    captions = [synthetic_text.caption(face, random.Random(f"{seed}/{split}/{i}")) for i, face in enumerate(labels)]
    return CaptionedPictures(pixels, captions, labels, drawn=True)


def corpus_pictures(
    path: str, config: str, size: int, measured: int = MEASURED
) -> tuple[CaptionedPictures, CaptionedPictures]:
    """The train split of a corpus, and `measured` pictures of it to measure on, which are taken out of it.

    The caption is the last answer of each record; pictures are squeezed to `size` × `size` pixels. No other split
    is touched: what is kept for evaluation has not been seen by the tower. Of several processes, each reads its own
    part of the pictures to learn from.

    Raises:
        CorpusError: if there is no such corpus or config, or a record has no picture.
    """
    from datasets import Image as ImageFeature

    from datasets_scripts.corpus.loading import load_rows

    try:
        rows = load_rows(path, config, "train").cast_column("image", ImageFeature(decode=False)).shuffle(seed=0)
    except (ValueError, OSError) as error:
        raise CorpusError(f"--corpus {path} --config {config}: {error}") from None
    measured, (rank, processes) = min(measured, len(rows) // 10), world()
    if measured < processes:
        few = f"--corpus {path}: {len(rows)} pictures are too few to learn to see from"
        raise CorpusError(f"{few}; give {10 * processes} or more")
    return _read(path, rows.skip(measured).shard(processes, rank), size), _read(path, rows.take(measured), size)


def world() -> tuple[int, int]:
    """This process's number and how many train together."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def _read(path: str, rows: Any, size: int) -> CaptionedPictures:
    from facemllm_recipes.corpora import folders_of
    from modeling_facemllm.image_loading_facemllm import load_listed_image

    pixels = np.empty((len(rows), size, size, 3), np.uint8)
    captions, labels, folders = [], [], folders_of(path)
    for number, row in enumerate(
        tqdm(rows, desc="reading pictures", unit="picture", mininterval=1, disable=world()[0] > 0)
    ):
        if row["image"] is None:
            raise CorpusError(
                f"--corpus {path}: record {row['id']} has no picture to learn from; build it with its pictures"
            )
        picture = load_listed_image(row["image"], folders)
        pixels[number] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        captions.append(row["messages"][-1]["content"][-1]["text"])
        labels.append(row["labels"])
    return CaptionedPictures(pixels, captions, labels)
