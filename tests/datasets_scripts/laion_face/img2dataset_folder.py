"""Tars, member for member as img2dataset 1.47 writes them (its real output was the model), and pictures for them."""

import io
import json
import tarfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

DATA = Path(__file__).parents[4] / "shared" / "data"
YUNET = DATA / "yunet" / "yunet_n_640_640.onnx"
PHOTOS = DATA / "fairface" / "val"
needs_faces = pytest.mark.skipif(
    not (YUNET.is_file() and PHOTOS.is_dir()), reason=f"YuNet and FairFace are not at {DATA}"
)
FIRST_ID = 1_000_000_000_000


@cache
def plain(count, side=None):
    """The first photographs of FairFace's that pass the rules with ease, each with one face, of `side` pixels."""
    from modeling_facemllm.face_detection_facemllm import FaceDetector, sharpness

    detector, chosen = FaceDetector(YUNET), []
    for path in sorted(PHOTOS.iterdir()):
        image = Image.open(path).convert("RGB")
        faces = detector.detect(image)
        if len(faces) == 1 and faces[0].score > 0.92 and sharpness(image, faces[0].box) > 40:
            chosen.append(image if side is None else image.resize((side, side), Image.Resampling.LANCZOS))
        if len(chosen) == count:
            return chosen
    raise AssertionError("too few plain faces")


def encode(image, **options):
    encoded = io.BytesIO()
    image.save(encoded, options.pop("format", "JPEG"), quality=95, **options)
    return encoded.getvalue()


def sample(number, picture, **meta):
    """A sample's members; `picture` is a PIL image or a file's bytes. `meta` replaces entries of its json."""
    data = picture if isinstance(picture, bytes) else encode(picture)
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except OSError:
        width = height = 224
    key = f"{number:09d}"
    kept = {
        "SAMPLE_ID": float(FIRST_ID + number),
        "NSFW": "UNLIKELY",
        "similarity": 0.31,
        "caption": f"Somebody Famous at a party, {number}",
        "url": f"http://pictures.example/{number}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "exif": "{}",
        "sha256": sha256(data).hexdigest(),
    } | meta
    kept = {name: value for name, value in kept.items() if value != "absent"}
    texts = {f"{key}.json": json.dumps(kept, indent=4).encode(), f"{key}.txt": str(kept.get("caption", "")).encode()}
    return {f"{key}.jpg": data, **texts}


def write_tar(path, samples):
    """A tar of these samples (mappings of member names to bytes), in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for members in samples:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.uname, member.gname = len(content), 0o444, "bigdata", "bigdata"
                tar.addfile(member, io.BytesIO(content))
    return path
