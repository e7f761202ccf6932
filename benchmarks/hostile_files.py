"""What `facemllm analyze` makes of as many hostile files as good photographs: what it loses, and the memory it takes.

    python -m benchmarks.hostile_files MODEL PHOTOS --files 2000 --detector yunet.onnx

PHOTOS is a folder of photographs that have a face each. Beside so many of them go damaged copies, pictures that are
small files and large in memory, other formats under a picture's name, pipes, links to devices, damaged videos, and
empty files. The analysis is a process of its own; its peak is what the kernel tells of it (ru_maxrss, Linux).
"""

import argparse
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PIL import Image

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "tiff": "TIFF", "gif": "GIF", "bmp": "BMP"}
VIDEOS = ("mp4", "avi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--files", type=int, default=2000, help="of either kind (default: 2000)")
    parser.add_argument("--detector", default="none", help="as analyze takes it (default: none)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    photos = sorted(file for file in args.photos.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        parser.error(f"{args.photos} has no .jpg, .jpeg or .png")
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        good = [files / f"good-{number:05d}{photos[number % len(photos)].suffix}" for number in range(args.files)]
        for number, file in enumerate(good):
            shutil.copyfile(photos[number % len(photos)], file)
        kinds = hostile_files(files, photos, args.files, random.Random(args.seed))
        print(f"{len(good)} good files, {len(kinds)} hostile ones of {len(set(kinds.values()))} kinds")
        report(args, files, {file.name for file in good}, kinds)


def hostile_files(folder: Path, photos: list[Path], count: int, rng: random.Random) -> dict[str, str]:
    """Writes `count` hostile files into `folder`; returns the kind of each by its name."""
    bomb, large = png_of_one_color(13_370), png_of_one_color(9_990)
    videos = [video(folder, suffix, photos) for suffix in VIDEOS]
    encoded = {suffix: [encode(photo, suffix) for photo in photos[:8]] for suffix in FORMATS}
    makers: dict[str, Callable[[Path], None]] = {
        "bomb of 179 megapixels": lambda file: file.write_bytes(bomb),
        "99.8 megapixels": lambda file: file.write_bytes(large),
        "postscript": lambda file: file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        "empty": lambda file: file.write_bytes(b""),
        "text": lambda file: file.write_text("<html>404 Not Found</html>"),
        "pipe": os.mkfifo,
        "device": lambda file: file.symlink_to("/dev/zero"),
        "dangling link": lambda file: file.symlink_to("/nowhere"),
        "folder": os.mkdir,
        "name": lambda file: file.with_name(f"\x1b[31m{file.name}").write_bytes(b"\xff\xd8\xff"),
    }
    kinds = {}
    for number in range(count):
        stem, choice = f"hostile-{number:05d}", rng.random()
        if choice < 0.75:
            suffix = rng.choice(list(FORMATS))
            content, kind = damaged(rng.choice(encoded[suffix]), rng), f"damaged {suffix}"
            file = folder / f"{stem}.{suffix}"
            file.write_bytes(content)
        elif choice < 0.78:
            suffix, content = rng.choice(videos)
            file, kind = folder / f"{stem}.{suffix}", f"damaged {suffix}"
            file.write_bytes(damaged(content, rng))
        else:
            kind = rng.choice(list(makers))
            file = folder / f"{stem}.{rng.choice(['jpg', 'png'])}"
            makers[kind](file)
            if kind == "name":
                file = file.with_name(f"\x1b[31m{file.name}")
        kinds[file.name] = kind
    return kinds


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A copy cut short, or with up to forty bytes or a stretch of it written over."""
    broken = bytearray(content)
    kind = rng.choice(["cut", "bytes", "bytes", "header", "zeros"])
    if kind == "cut":
        del broken[rng.randrange(len(broken)) :]
    elif kind == "zeros":
        start = rng.randrange(len(broken))
        broken[start : start + 512] = bytes(len(broken[start : start + 512]))
    else:
        end = len(broken) if kind == "bytes" else min(len(broken), 200)
        for _ in range(rng.randint(1, 40)):
            broken[rng.randrange(end)] = rng.randrange(256)
    return bytes(broken)


def encode(photo: Path, suffix: str) -> bytes:
    """A photograph in another format."""
    file = io.BytesIO()
    with Image.open(photo) as picture:
        picture.convert("RGB").save(file, FORMATS[suffix])
    return file.getvalue()


def png_of_one_color(side: int) -> bytes:
    """A PNG of `side` by `side` transparent pixels, in less than a megabyte."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packer, row = zlib.compressobj(9), bytes(1 + 4 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def video(folder: Path, suffix: str, photos: list[Path]) -> tuple[str, bytes]:
    """A video of eight photographs."""
    import cv2
    import numpy as np

    path = folder / f"video.{suffix}"
    codec = cv2.VideoWriter_fourcc(*("mp4v" if suffix == "mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), codec, 4, (224, 224))
    for photo in photos[:8]:
        with Image.open(photo) as picture:
            writer.write(np.asarray(picture.convert("RGB").resize((224, 224)))[:, :, ::-1].copy())
    writer.release()
    content = path.read_bytes()
    path.unlink()
    return suffix, content


def report(args: argparse.Namespace, files: Path, good: set[str], kinds: dict[str, str]) -> None:
    """Runs `analyze` over the folder and prints what came of it; exits with 1 where a good file is lost."""
    table = files.parent / "faces.jsonl"
    command = [sys.executable, "-m", "facemllm", "analyze", args.model, str(files), "--out", str(table)]
    command += ["--detector", args.detector]
    start = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    rows: dict[str, dict] = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[Path(row["image"]).name] = row
    lost = sorted(name for name in good if name not in rows or rows[name].get("error"))
    answered = Counter(kinds[name] for name in kinds if name in rows and not rows[name].get("error"))
    refused = Counter(kinds[name] for name in kinds if name in rows and rows[name].get("error"))
    absent = Counter(kinds[name] for name in kinds if name not in rows)
    print(
        f"exit {os.waitstatus_to_exitcode(status)}, {time.monotonic() - start:.0f} s on the clock, "
        f"{used.ru_utime + used.ru_stime:.0f} s of processors, peak {used.ru_maxrss / 2**10:.0f} MiB"
    )
    print(f"good files: {len(good)}, lost: {len(lost)} {lost[:5]}")
    for title, counts in (("answered", answered), ("refused", refused), ("no row", absent)):
        print(f"hostile, {title}: {counts.total()} {dict(sorted(counts.items()))}")
    print("last line:", said.strip().splitlines()[-1] if said.strip() else "")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
