"""How many pictures one core annotates in a second, beside a Pillow loop and img2dataset; and the memory it takes.

    python -m benchmarks.annotation rates PHOTOS --yunet YUNET.onnx --img2dataset img2dataset
    python -m benchmarks.annotation memory PHOTOS --yunet YUNET.onnx --images 1000 20000

PHOTOS is a folder of JPEG photographs, each with a face; they are repeated under new keys until there are enough. The
annotator is a server on loopback that answers at once, so what is measured is our part. Rates are pictures per second
of processor time, all threads and processes counted, imports not: on a shared machine these hold where seconds on the
clock do not. Memory is the sum of all processes (proportional set size, so that what they share counts once).
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil
from PIL import Image

from datasets_scripts.annotator.annotate import annotate
from datasets_scripts.annotator.settings import Annotator, FaceToAsk
from datasets_scripts.laion_face.annotation import LaionFaces, annotate_laion
from datasets_scripts.laion_face.answers import answer_schema
from datasets_scripts.laion_face.prompt import check_face_answer

ROWS = {
    "pillow": "plain Pillow loop: tar, decode to RGB",
    "faces": "tar, decode, detect, rules, crop, JPEG, question",
    "annotate": "the same, asked, answers checked and journalled",
    "download": "img2dataset, as annotate download drives it (no resizing)",
    "resize": "img2dataset, as its README shows (resized to 256, encoded again)",
}


def main() -> None:
    """Run one of the commands; `measure` and `serve` are what they run in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("rates", "memory", "measure", "serve"))
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--yunet", required=True, help="YuNet's ONNX file")
    parser.add_argument("--img2dataset", help="the command; without it that row is left out")
    parser.add_argument("--images", type=int, nargs="+", help="default: 1000; for memory 1000 and 20000")
    parser.add_argument("--sides", type=int, nargs="+", default=[0], help="resize to so many pixels; 0: no")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--shard", type=int, default=10_000, help="pictures to a tar (default: 10000, img2dataset's)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpu", type=int, help="run all but the server on this processor alone")
    for option in ("--row", "--url", "--tars"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    args = parser.parse_args()
    {"rates": _rates, "memory": _memory, "measure": _measure, "serve": _serve}[args.command](args)


def _rates(args: argparse.Namespace) -> None:
    images = (args.images or [1000])[0]
    rows = [row for row in ROWS if args.img2dataset or row not in ("download", "resize")]
    for side in args.sides:
        with _served(args, images, side) as (url, photos, tars):
            seconds: dict[str, list[float]] = {row: [] for row in rows}
            for _ in range(args.rounds):
                for row in rows:
                    figures = _run(args, row, tars, url, photos[0].parent)
                    seconds[row].append(figures["cpu"] / figures["images"])
            size = sum(path.stat().st_size for path in photos) / len(photos)
        sizes = f"{side}×{side}" if side else "as they are"
        print(f"\n{images} photographs, {sizes}, {size / 1000:.1f} kB each; median of {args.rounds}")
        print(f"{'images/s per core':>18} {'of Pillow':>10}")
        for row in rows:
            ratio = statistics.median(a / b for a, b in zip(seconds["pillow"], seconds[row], strict=True))
            print(f"{1 / statistics.median(seconds[row]):18.1f} {ratio:10.3f}  {ROWS[row]}")


def _memory(args: argparse.Namespace) -> None:
    print(f"{'images':>8} {'peak MB':>8} {'faces':>8} {'seconds':>8}  workers={args.workers}")
    for images in args.images or [1000, 20_000]:
        with _served(args, images) as (url, photos, tars):
            found = _run(args, "corpus", tars, url, photos[0].parent)
        print(f"{images:8} {found['peak'] / 1e6:8.0f} {found['faces']:8} {found['wall']:8.0f}", flush=True)


def write_tars(photos: Sequence[Path], folder: Path, images: int, each: int) -> Path:
    """Tars as img2dataset 1.47 writes them, `each` pictures to one; returns their folder."""
    folder.mkdir()
    pictures = [(path.read_bytes(), Image.open(path).size) for path in photos]
    for shard, first in enumerate(range(0, images, each)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w:", format=tarfile.PAX_FORMAT) as tar:
            for number in range(first, min(first + each, images)):
                picture, (width, height) = pictures[number % len(pictures)]
                meta = {"url": f"http://pictures.example/{number}.jpg", "SAMPLE_ID": number, "status": "success"}
                meta |= {"width": width, "height": height, "original_width": width, "original_height": height}
                meta |= {"caption": "", "exif": "{}", "key": f"{number:09d}"}
                for extension, content in (("jpg", picture), ("json", json.dumps(meta).encode()), ("txt", b"")):
                    member = tarfile.TarInfo(f"{number:09d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def _photographs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[:1000]


@contextlib.contextmanager
def _served(args: argparse.Namespace, images: int, side: int = 0) -> Iterator[tuple[str, list[Path], Path]]:
    """The URL of a server of the photographs, their files, resized to `side` × `side` pixels unless 0, and tars."""
    files = _photographs(args.photos)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if side:
            (folder / "photos").mkdir()
            for path in files:
                large = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
                large.save(folder / "photos" / path.name, quality=90)
            files = [folder / "photos" / path.name for path in files]
        tars = write_tars(files, folder / "tars", images, args.shard)
        command = [sys.executable, "-m", "benchmarks.annotation", "serve", str(files[0].parent), "--yunet", args.yunet]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield f"http://127.0.0.1:{int(server.stdout.readline())}", files, tars
            finally:
                server.kill()


def _serve(args: argparse.Namespace) -> None:
    """Pictures by GET and the same valid answer to every question by POST, on a free port of loopback, printed."""
    answer = _response(_answer(), "application/json")
    read = cache(lambda name: _response((args.photos / name).read_bytes(), "image/jpeg"))

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(read(Path(head.split()[1].decode()).name))  # numbers of copies: /12/photo.jpg
                else:
                    await reader.readexactly(int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1]))
                    writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(respond, "127.0.0.1", 0, limit=2**20, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(serve())


def _answer() -> bytes:
    """A chat completion with an answer of the annotator's schema: the first option of every attribute."""
    attributes = answer_schema()["properties"]["attributes"]["properties"]
    content = {
        "caption": "A face in the light of a window. It looks at the camera, and the background is a plain wall.",
        "attributes": {name: entry["enum"][0] for name, entry in attributes.items()},
    }
    message = {"role": "assistant", "content": json.dumps(content)}
    usage = {"prompt_tokens": 1000, "completion_tokens": 400, "total_tokens": 1400}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode()


def _response(body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _run(args: argparse.Namespace, row: str, tars: Path, url: str, photos: Path) -> dict[str, Any]:
    """Measure one row in a process of its own, watching the memory of it and its children."""
    command = [sys.executable, "-m", "benchmarks.annotation", "measure", str(photos), "--row", row]
    command += ["--tars", str(tars), "--yunet", args.yunet, "--url", url, "--workers", str(args.workers)]
    command += ["--img2dataset", args.img2dataset] if args.img2dataset else []
    pinned = (lambda: os.sched_setaffinity(0, {args.cpu})) if args.cpu is not None else None
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_proportional_set_size, [process, *process.children(recursive=True)])))
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"{row} ended with status {process.returncode}")
    return {**json.loads(process.stdout.read()), "peak": peak}


def _proportional_set_size(process: psutil.Process) -> int:
    """Bytes; 0 for a process that has ended."""
    with contextlib.suppress(psutil.Error):
        return process.memory_full_info().pss
    return 0


def _measure(args: argparse.Namespace) -> None:
    """Processor seconds, seconds and faces of one row; a small run first, whose imports and caches do not count."""
    run = {"pillow": _pillow, "faces": _faces, "annotate": _annotate, "corpus": _corpus}.get(args.row, _img2dataset)
    with tempfile.TemporaryDirectory() as folder:
        small = write_tars(_photographs(args.photos)[:16], Path(folder) / "tars", 16, 16)
        start = _processor_seconds()
        started, _ = run(args, small, Path(folder) / "small")
        start_up, before, began = _processor_seconds() - start, _processor_seconds(), time.monotonic()
        images, faces = run(args, Path(args.tars), Path(folder) / "out")
        cpu, wall = _processor_seconds() - before, time.monotonic() - began
    if run is _img2dataset:  # a command: it imports anew each time
        images, cpu = images - started, cpu - start_up
    print(json.dumps({"cpu": cpu, "wall": wall, "images": images, "faces": faces}))


def _pillow(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """As all of these, the number of pictures, and of faces among them."""
    count = 0
    for picture in _pictures(tars):
        Image.open(picture).convert("RGB").load()
        count += 1
    return count, 0


def _pictures(tars: Path) -> Iterator[IO[bytes]]:
    for path in sorted(tars.glob("*.tar")):
        with tarfile.open(path) as tar:
            yield from (tar.extractfile(member) for member in tar if member.name.endswith(".jpg"))


def _faces(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    source = LaionFaces.from_pretrained(tars, detector=args.yunet, progress=False)
    found = [isinstance(face, FaceToAsk) for part in range(len(source)) for face in source.faces(part)]
    return len(found), sum(found)


def _annotate(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    source = LaionFaces.from_pretrained(tars, detector=args.yunet, progress=False)
    annotator = Annotator(args.url, "m", concurrency=32)
    report = annotate(source, annotator, out, check=check_face_answer, workers=args.workers, progress=False)
    if report["rejected"]:
        raise SystemExit(f"the server's answers are no longer valid: {report['rejected']}")
    return report["faces"] + sum(report["skipped"].values()), report["faces"]


def _corpus(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """The whole of `facemllm annotate laion-face`, the crops carried along."""
    settings = {"detector": args.yunet, "workers": args.workers, "num_proc": args.workers, "include_images": True}
    annotator = Annotator(args.url, "m", concurrency=32)
    report = annotate_laion(tars, out, annotator, progress=False, **settings)["annotation"]
    return report["faces"] + sum(report["skipped"].values()), report["faces"]


def _img2dataset(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """Download as many pictures as the tars hold, ten times over: the command's start takes some 10 s, and varies."""
    import pyarrow
    from pyarrow import parquet

    from datasets_scripts.laion_face.download import count_downloaded, download

    number = 10 * sum(1 for _ in _pictures(tars))
    served = [path.name for path in _photographs(args.photos)]
    urls = [f"{args.url}/{copy}/{served[copy % len(served)]}" for copy in range(number)]
    table = out.with_suffix(".parquet")
    parquet.write_table(pyarrow.table({"URL": urls, "TEXT": [""] * number, "SAMPLE_ID": range(number)}), table)
    if args.row == "download":
        return download(table, out, img2dataset=args.img2dataset, threads=32, progress=False)["downloaded"], 0
    command = [args.img2dataset, "--url_list", str(table), "--input_format", "parquet", "--url_col", "URL"]
    command += ["--caption_col", "TEXT", "--output_folder", str(out), "--output_format", "webdataset"]
    command += ["--processes_count", "1", "--thread_count", "32", "--image_size", "256", "--enable_wandb", "False"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return count_downloaded(out).downloaded, 0


def _processor_seconds() -> float:
    """Of this process and of its children that have ended, user and system."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
