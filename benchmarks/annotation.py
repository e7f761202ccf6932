"""How many pictures one core annotates in a second, beside a Pillow loop and img2dataset; and the memory it takes.

    python -m benchmarks.annotation rates PHOTOS --yunet YUNET.onnx --img2dataset img2dataset
    python -m benchmarks.annotation memory PHOTOS --yunet YUNET.onnx --images 1000 20000

PHOTOS is a folder of JPEG photographs, each with a face; they are repeated under new keys until there are enough. The
annotator is a server on loopback that answers at once, so what is measured is our part. Rates are pictures per second
of processor time, all threads and processes counted, imports not: on a shared machine these hold where seconds on the
clock do not. Memory is the sum of all processes (proportional set size, so that what they share counts once).
"""

import argparse
import contextlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROWS = {
    "pillow": "plain Pillow loop: tar, decode to RGB",
    "faces": "tar, decode, detect, rules, crop, JPEG, question",
    "annotate": "the same, asked, answers checked and journalled",
    "download": "img2dataset, as annotate download drives it (no resizing)",
    "resize": "img2dataset, as its README shows (resized to 256, encoded again)",
}


def main() -> None:
    """Run one of the commands; `measure` is what they run in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("rates", "memory", "measure"))
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--yunet", required=True, help="YuNet's ONNX file")
    parser.add_argument("--img2dataset", help="the command; without it that row is left out")
    parser.add_argument("--images", type=int, nargs="+", help="default: 1000; for memory 1000 and 20000")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[0], help="resize photographs to so many pixels; 0: no"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--shard", type=int, default=10_000, help="pictures to a tar (default: 10000, img2dataset's)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpu", type=int, help="run all but the server on this processor alone")
    parser.add_argument("--row", choices=(*ROWS, "corpus"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.command == "measure":
        sys.stdout.write(json.dumps(_measure(args)))
    elif args.command == "rates":
        _rates(args)
    else:
        _memory(args)


def _rates(args: argparse.Namespace) -> None:
    images = (args.images or [1000])[0]
    rows = [row for row in ROWS if args.img2dataset or row not in ("download", "resize")]
    for side in args.sides:
        with tempfile.TemporaryDirectory() as folder, _server(args.photos, side, Path(folder)) as (url, photos):
            tars = write_tars(photos, Path(folder) / "tars", images, args.shard)
            seconds: dict[str, list[float]] = {row: [] for row in rows}
            for _ in range(args.rounds):
                for row in rows:
                    told = _run(args, row, tars, url, photos[0].parent)
                    seconds[row].append(told["cpu"] / told["images"])
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
        with tempfile.TemporaryDirectory() as folder, _server(args.photos, 0, Path(folder)) as (url, photos):
            tars = write_tars(photos, Path(folder) / "tars", images, args.shard)
            told = _run(args, "corpus", tars, url, photos[0].parent)
        line = f"{images:8} {told['peak'] / 1e6:8.0f} {told['faces']:8} {told['wall']:8.0f}"
        print(line, flush=True)


def write_tars(photos: Sequence[Path], folder: Path, images: int, each: int) -> Path:
    """Tars as img2dataset 1.47 writes them, `each` pictures to one; returns their folder."""
    from PIL import Image

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


@contextlib.contextmanager
def _server(photos: Path, side: int, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """The URL of a server of the photographs, and their files, resized to `side` × `side` pixels unless 0."""
    from PIL import Image

    files = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[:1000]
    if side:
        (folder / "photos").mkdir()
        for path in files:
            large = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            large.save(folder / "photos" / path.name, quality=90)
        files = [folder / "photos" / path.name for path in files]
    command = [sys.executable, "-m", "benchmarks.annotation_server", str(files[0].parent)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}", files
    finally:
        server.kill()
        server.communicate()


def _run(args: argparse.Namespace, row: str, tars: Path, url: str, photos: Path) -> dict[str, Any]:
    """Measure one row in a process of its own, watching the memory of it and its children."""
    command = [sys.executable, "-m", "benchmarks.annotation", "measure", str(tars), "--row", row]
    command += ["--yunet", args.yunet, "--url", url, "--workers", str(args.workers)]
    command += ["--img2dataset", args.img2dataset] if args.img2dataset else []
    pinned = (lambda: os.sched_setaffinity(0, {args.cpu})) if args.cpu is not None else None
    environment = {**os.environ, "BENCHMARK_PHOTOS": str(photos)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned, env=environment)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_set_size, _with_children(process.pid))))
            time.sleep(0.25)

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = process.stdout.read()
    process.wait()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{row} ended with status {process.returncode}")
    return {**json.loads(said), "peak": peak}


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds, seconds and faces of one row; a small run first, whose imports and caches do not count."""
    run = {"pillow": _pillow, "faces": _faces, "annotate": _annotate, "corpus": _corpus}.get(args.row, _img2dataset)
    tars = sorted(args.photos.glob("*.tar"))
    with tempfile.TemporaryDirectory() as folder:
        small = write_tars(_some_photos(tars[0], Path(folder)), Path(folder) / "tars", 16, 16)
        start = _processor_seconds()
        started, _ = run(args, small, Path(folder) / "small")
        start_up, before, began = _processor_seconds() - start, _processor_seconds(), time.monotonic()
        images, faces = run(args, args.photos, Path(folder) / "out")
        cpu, wall = _processor_seconds() - before, time.monotonic() - began
    if run is _img2dataset:  # a command: it imports anew each time
        images, cpu = images - started, cpu - start_up
    return {"cpu": cpu, "wall": wall, "images": images, "faces": faces}


def _pillow(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """As all of these, the number of pictures, and of faces among them."""
    from PIL import Image

    count = 0
    for path in sorted(tars.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    Image.open(tar.extractfile(member)).convert("RGB").load()
                    count += 1
    return count, 0


def _faces(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    from datasets_scripts.annotator.settings import FaceToAsk
    from datasets_scripts.laion_face.annotation import LaionFaces

    source = LaionFaces.from_pretrained(tars, detector=args.yunet, progress=False)
    found = [isinstance(face, FaceToAsk) for part in range(len(source)) for face in source.faces(part)]
    return len(found), sum(found)


def _annotate(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    from datasets_scripts.annotator.annotate import annotate
    from datasets_scripts.annotator.settings import Annotator
    from datasets_scripts.laion_face.annotation import LaionFaces
    from datasets_scripts.laion_face.prompt import check_face_answer

    source = LaionFaces.from_pretrained(tars, detector=args.yunet, progress=False)
    annotator = Annotator(args.url, "m", concurrency=32)
    report = annotate(source, annotator, out, check=check_face_answer, workers=args.workers, progress=False)
    if report["rejected"]:
        raise SystemExit(f"the answers of annotation_server are no longer valid: {report['rejected']}")
    return report["faces"] + sum(report["skipped"].values()), report["faces"]


def _corpus(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """The whole of `facemllm annotate laion-face`, the crops carried along."""
    from datasets_scripts.annotator.settings import Annotator
    from datasets_scripts.laion_face.annotation import annotate_laion

    settings = {"detector": args.yunet, "workers": args.workers, "num_proc": args.workers, "include_images": True}
    annotator = Annotator(args.url, "m", concurrency=32)
    report = annotate_laion(tars, out, annotator, progress=False, **settings)["annotation"]
    return report["faces"] + sum(report["skipped"].values()), report["faces"]


def _img2dataset(args: argparse.Namespace, tars: Path, out: Path) -> tuple[int, int]:
    """Download as many pictures as the tars hold, ten times over: the command's start takes some 10 s, and varies."""
    import pyarrow
    from pyarrow import parquet

    from datasets_scripts.laion_face.download import count_downloaded, download

    number = 0
    for path in tars.glob("*.tar"):
        with tarfile.open(path) as tar:
            number += 10 * sum(name.endswith(".jpg") for name in tar.getnames())
    served = [path.name for path in sorted(Path(os.environ["BENCHMARK_PHOTOS"]).iterdir())]
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


def _some_photos(tar: Path, folder: Path) -> list[Path]:
    with tarfile.open(tar) as opened:
        members = [member for member in opened.getmembers()[:48] if member.name.endswith(".jpg")]
        for member in members:
            (folder / member.name).write_bytes(opened.extractfile(member).read())
    return [folder / member.name for member in members]


def _processor_seconds() -> float:
    """Of this process and of its children that have ended, user and system."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def _with_children(process: int) -> list[int]:
    found = [process]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _proportional_set_size(process: int) -> int:
    """Bytes; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
