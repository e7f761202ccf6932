"""How often the check of `facemllm.analysis.picture_kind` takes photographs for drawings, and the other way round.

    python -m benchmarks.picture_kind FAIRFACE/val --count 2000                # the table of docs/results/analysis.md
    python -m benchmarks.picture_kind FAIRFACE/train --count 300 --choose      # its weights, by logistic regression

The folder holds photographs, each of one face. Drawings are the faces of `datasets_scripts.synthetic`: of the split
`test` in the table, `train` where weights are chosen.
"""

import argparse
import io
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from datasets_scripts.synthetic.faces import draw_face, sample_labels
from facemllm.analysis.picture_kind import DRAWINGS, PHOTOGRAPHS, picture_kind, picture_signs

LANCZOS, BICUBIC = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC


def encoded(image: Image.Image, kind: str, **options) -> Image.Image:
    """The picture after a round through a file of that kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """The picture through a Gaussian of `radius` pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


PHOTO_VERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is, 224 px": lambda photo: photo,
    "blurred by 2 px": lambda photo: blurred(photo, 2),
    "blurred by 4 px": lambda photo: blurred(photo, 4),
    "black and white": lambda photo: photo.convert("L"),
    "enlarged to 448 px": lambda photo: photo.resize((448, 448), BICUBIC),
    "reduced to 100 px": lambda photo: photo.resize((100, 100), LANCZOS),
    "reduced to 64 px": lambda photo: photo.resize((64, 64), LANCZOS),
    "PNG": lambda photo: encoded(photo, "PNG"),
    "JPEG, quality 40": lambda photo: encoded(photo, "JPEG", quality=40),
}
DRAWN_VERSIONS: dict[str, Callable[[Callable[[int], Image.Image]], Image.Image]] = {
    "64 px, PNG": lambda drawn: encoded(drawn(64), "PNG"),
    "64 px, JPEG, quality 90": lambda drawn: encoded(drawn(64), "JPEG", quality=90),
    "64 px, JPEG, quality 75": lambda drawn: encoded(drawn(64), "JPEG", quality=75),
    "64 px, black and white": lambda drawn: drawn(64).convert("L"),
    "64 px, blurred by 1 px": lambda drawn: blurred(drawn(64), 1),
    "64 px, enlarged to 224": lambda drawn: drawn(64).resize((224, 224), BICUBIC),
    "64 px, enlarged to 224, JPEG, quality 75": lambda drawn: encoded(
        drawn(64).resize((224, 224), BICUBIC), "JPEG", quality=75
    ),
    "224 px, reduced to 100": lambda drawn: drawn(224).resize((100, 100), LANCZOS),
    "224 px, blurred by 2 px": lambda drawn: blurred(drawn(224), 2),
}


def main() -> None:
    """Print the table, or the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--count", type=int, default=2000, help="photographs, and drawings (default: 2000)")
    parser.add_argument("--choose", action="store_true", help="print weights in place of the table")
    args = parser.parse_args()
    files = sorted(args.photos.glob("*.jpg"))
    files = random.Random(0).sample(files, min(args.count, len(files)))
    if args.choose:
        choose(files, args.count)
    else:
        measure(files, args.count)


def versions(files: list[Path], count: int, split: str) -> Iterator[tuple[str, str, Image.Image]]:
    """What each picture is, in which version, and the picture."""
    for file in files:
        with Image.open(file) as photo:
            photo.load()
        for name, version in PHOTO_VERSIONS.items():
            yield PHOTOGRAPHS, name, version(photo.convert("RGB"))
    for index in range(count):
        labels, drawn = sample_labels(index, 0, split), {}

        def draw(size: int, index=index, labels=labels, drawn=drawn) -> Image.Image:
            if size not in drawn:
                drawn[size] = draw_face(labels, index, 0, split, size)
            return drawn[size]

        for name, version in DRAWN_VERSIONS.items():
            yield DRAWINGS, name, version(draw)


def measure(files: list[Path], count: int) -> None:
    """The table: of each version, how many were taken for the other kind, and for neither."""
    found: dict[tuple[str, str], list[str | None]] = {}
    seconds = 0.0
    for kind, name, picture in versions(files, count, "test"):
        picture.load()
        start = time.process_time()
        said = picture_kind(picture)
        seconds += time.process_time() - start
        found.setdefault((kind, name), []).append(said)
    print("| | pictures | taken for the other kind | for neither |\n|---|---|---|---|")
    for (kind, name), answers in found.items():
        wrong = sum(said not in (kind, None) for said in answers)
        unsure = answers.count(None)
        total = len(answers)
        print(f"| {kind}, {name} | {total:,} | {100 * wrong / total:.2f} % | {100 * unsure / total:.2f} % |")
    print(f"{1000 * seconds / sum(map(len, found.values())):.2f} ms of processor time a picture")


def choose(files: list[Path], count: int) -> None:
    """Weights and bias of the logistic regression of "is a drawing" on the signs."""
    from sklearn.linear_model import LogisticRegression

    rows = [(kind == DRAWINGS, picture_signs(picture)) for kind, _, picture in versions(files, count, "train")]
    drawn, signs = np.array([row[0] for row in rows]), np.stack([row[1] for row in rows])
    spread, middle = signs.std(axis=0), signs.mean(axis=0)
    fitted = LogisticRegression(C=10, max_iter=3000).fit((signs - middle) / spread, drawn)
    weights = fitted.coef_[0] / spread
    bias = float(fitted.intercept_[0] - weights @ middle)
    print("WEIGHTS =", tuple(weights.round(2).tolist()), "BIAS =", round(bias, 2))


if __name__ == "__main__":
    main()
