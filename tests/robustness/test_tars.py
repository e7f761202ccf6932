"""Damaged tars and hostile JSON in whole ones: every sample is given or counted, and nothing is raised."""

import io
import tarfile

import pytest

from datasets_scripts.laion_face.pictures import BrokenPicture, changed_since_published, upright_picture
from datasets_scripts.laion_face.tars import TarSample, read_again, read_tar
from datasets_scripts.schema import Skipped
from tests.datasets_scripts.laion_face.img2dataset_folder import sample, write_tar
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import FRAGMENTS, mutated, mutated_json
from tests.robustness.test_pictures import FILES, noise

COST = {"seconds": 5, "mebibytes": 200}
META = {
    "SAMPLE_ID": 12.0,
    "url": "http://pictures.example/1.jpg",
    "NSFW": "UNLIKELY",
    "WIDTH": 40,
    "HEIGHT": 24,
    "width": 40,
    "height": 24,
    "original_width": 40,
    "original_height": 24,
    "exif": '{"Image Orientation": "Rotated 90 CW"}',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tars")


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded(folder):
    path = write_tar(folder / "00000.tar", [sample(number, noise(), exif=META["exif"]) for number in range(3)])
    check(path)
    assert [type(found) for found in read_tar(path)] == [TarSample] * 3


def check(path):
    with bounded("tars", **COST):
        for found in read_tar(path):
            if isinstance(found, Skipped):
                assert_one_line(ValueError(found.reason))
                continue
            assert isinstance(found.id, str) and found.id.encode()
            assert read_again(path, found.offset, len(found.picture)) == found.picture
            changed_since_published(found.meta)
            try:
                upright = upright_picture(found.picture, found.meta)
            except BrokenPicture as error:
                assert_one_line(error)
                continue
            assert upright.image.mode == "RGB"
            assert upright.from_detections([[1, 1]]).shape == upright.at_url([[1, 1]]).shape == (1, 2)


def headers(content):
    """The tar with sound checksums in its first headers, so that lies in them are believed."""
    content = bytearray(content)
    for place in range(0, min(len(content), 8192) - 511, 512):
        block = content[place : place + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            content[place + 148 : place + 156] = b"%06o\0 " % sum(block)
    return bytes(content)


def small_tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sample(1, FILES[0], exif=META["exif"]).items():
            member = tarfile.TarInfo(name if name.endswith("json") else name.replace("0000", "ä" * 120))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


TARS = [small_tar()]


@fuzzed(content=mutated(TARS, FRAGMENTS))
@examples("content", failed_before("tars"))
def test_damaged_tars(folder, content):
    for written in (content, headers(content)):
        (folder / "damaged.tar").write_bytes(written)
        check(folder / "damaged.tar")


@fuzzed(text=mutated_json([META]))
def test_hostile_json_in_a_whole_tar(folder, text):
    members = {"1.jpg": FILES[0], "1.json": text.encode("utf-8", "surrogatepass"), "1.txt": b""}
    check(write_tar(folder / "hostile.tar", [members, sample(2, FILES[1])]))
