"""Which scores YuNet gives to faces and to what is none: how the least score of `laion_face.rules` was chosen.

    python -m benchmarks.detection PHOTOS YUNET.onnx

PHOTOS is a folder of photographs, each with a face. What is none are the same photographs cut into 49 tiles and
shuffled: their colours and textures, and no face. Sharpness is that of the best face, whole and blurred.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFilter

from datasets_scripts.laion_face.rules import FaceRules
from modeling_facemllm.face_detection_facemllm import FaceDetector, sharpness

SCORES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
BLURS = (0, 2, 3)  # radius in pixels
TILES = 7


def main() -> None:
    """Print a table for each of the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("weights", nargs="+", metavar="YUNET.onnx")
    parser.add_argument("--limit", type=int, default=2000, help="photographs (default: 2000)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    photos = sorted(args.photos.glob("*.jpg"), key=lambda path: (len(path.name), path.name))[: args.limit]
    print("| | " + " | ".join(f"{score:g}" for score in SCORES) + " | ms a picture |")
    print("|---" * (len(SCORES) + 2) + "|", flush=True)
    for weights in args.weights:
        for kind, pictures in (("faces", whole(photos)), ("shuffled", shuffled(photos))):
            scores, seconds = best_scores(pictures, weights)
            shares = " | ".join(f"{100 * np.mean(scores >= score):.1f} %" for score in SCORES)
            figures = f"{shares} | {1000 * seconds / len(scores):.1f}"
            print(f"| {Path(weights).stem}, {len(scores)} {kind} | {figures} |", flush=True)
    least = FaceRules().min_sharpness
    for blur in BLURS:
        blurred = np.mean(sharpness_of_best(photos[:500], args.weights[0], blur) < least)
        print(f"sharpness below {least:g}, blurred by {blur} pixels: {100 * blurred:.1f} %", flush=True)


def whole(photos: Sequence[Path]) -> Iterator[Image.Image]:
    """The photographs."""
    for path in photos:
        with Image.open(path) as image:
            yield image.convert("RGB")


def shuffled(photos: Sequence[Path]) -> Iterator[Image.Image]:
    """The photographs as 7 × 7 tiles in another order."""
    random = np.random.default_rng(0)
    for image in whole(photos):
        pixels = np.asarray(image)
        side = min(pixels.shape[:2]) // TILES
        tiles = pixels[: side * TILES, : side * TILES].reshape(TILES, side, TILES, side, 3).swapaxes(1, 2)
        mixed = tiles.reshape(-1, side, side, 3)[random.permutation(TILES * TILES)]
        yield Image.fromarray(mixed.reshape(TILES, TILES, side, side, 3).swapaxes(1, 2).reshape(side * TILES, -1, 3))


def best_scores(pictures: Iterator[Image.Image], weights: str) -> tuple[np.ndarray, float]:
    """The best score in each picture, 0 where nothing is found, and the seconds of processor time it took."""
    detector = FaceDetector(weights, min_score=min(SCORES))
    scores, seconds = [], 0.0
    for picture in pictures:
        began = time.process_time()
        faces = detector.detect(picture)
        seconds += time.process_time() - began
        scores.append(faces[0].score if faces else 0.0)
    return np.array(scores), seconds


def sharpness_of_best(photos: Sequence[Path], weights: str, blur: float) -> np.ndarray:
    """The sharpness of the best face of each photograph that has one, after blurring the photograph."""
    detector, blurring = FaceDetector(weights, min_score=0.6), ImageFilter.GaussianBlur(blur)
    found = ((picture, detector.detect(picture)) for picture in whole(photos))
    return np.array([sharpness(picture.filter(blurring), faces[0].box) for picture, faces in found if faces])


if __name__ == "__main__":
    main()
