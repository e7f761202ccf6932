"""img2dataset's tars read a sample at a time; whatever is wrong with one is counted, and the rest is read."""

import math
import tarfile

import pytest

from datasets_scripts.files import peak_memory
from datasets_scripts.laion_face.tars import TarSample, find_tars, read_again, read_tar, whole_number
from datasets_scripts.schema import CorpusError, Skipped
from tests.datasets_scripts.laion_face.img2dataset_folder import FIRST_ID, sample, write_tar

CUT = "tar cut off or damaged: the rest of it"


def samples(count=3):
    return [sample(number, bytes([number]) * (700 + 1000 * number)) for number in range(count)]


def reasons(path):
    return [item.reason for item in read_tar(path) if isinstance(item, Skipped)]


def test_samples_come_in_their_order_with_their_members(tmp_path):
    path = write_tar(tmp_path / "00000.tar", samples())
    read = list(read_tar(path))
    assert [item.key for item in read] == ["000000000", "000000001", "000000002"]
    assert [item.id for item in read] == [f"laion_face/{FIRST_ID + number}" for number in range(3)]
    assert read[1].picture == b"\x01" * 1700
    assert read[1].meta["url"] == "http://pictures.example/1.jpg"


def test_two_samples_of_one_key_stay_two(tmp_path):
    path = write_tar(tmp_path / "00000.tar", [sample(1, b"one"), sample(1, b"two")])
    assert [item.picture for item in read_tar(path)] == [b"one", b"two"]


def test_a_picture_is_read_again_from_its_place_in_the_tar(tmp_path):
    path = write_tar(tmp_path / "00000.tar", samples())
    for item in read_tar(path):
        assert read_again(path, item.offset, len(item.picture)) == item.picture
    with pytest.raises(CorpusError, match=r"00000\.tar\b.*put the same tars back"):
        read_again(path, path.stat().st_size - 10, 20)


def test_a_sample_without_partner_or_with_a_broken_one_is_counted_and_the_next_is_read(tmp_path):
    good = samples(6)
    del good[0]["000000000.json"], good[1]["000000001.jpg"]
    good[2]["000000002.json"] = b'{"url": "http://'
    good[3] = sample(3, b"picture", url=None)
    good[4]["000000004.json"] = b"[1, 2]"
    path = write_tar(tmp_path / "00007.tar", good)
    read = list(read_tar(path))
    assert [item.reason for item in read[:5]] == [
        "sample without json",
        "sample without picture",
        "malformed json",
        "json without url",
        "json without url",
    ]
    assert read[0].id == "laion_face/00007/000000000" and isinstance(read[5], TarSample)


def test_a_tar_cut_off_anywhere_gives_what_is_whole_and_says_so(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", samples()).read_bytes()
    keys = [item.key for item in read_tar(tmp_path / "whole.tar")]
    ends = []
    with tarfile.open(tmp_path / "whole.tar") as tar:
        for number, member in enumerate(tar.getmembers()):
            if number % 3 == 1:  # the json: a sample is whole without its txt
                ends.append(member.offset_data + member.size)
    for length in [*range(0, len(whole) - 10240, 97), *ends]:
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:length])
        read = list(read_tar(path))
        assert isinstance(read[-1], Skipped) and read[-1].reason == CUT
        expected = sum(end <= length for end in ends)
        assert [item.key for item in read if isinstance(item, TarSample)] == keys[:expected]
        assert len(read) == expected + 1


@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"<html>" * 1000, bytes(range(256)) * 40])
def test_what_is_no_tar_is_counted(tmp_path, content):
    (tmp_path / "00000.tar").write_bytes(content)
    assert reasons(tmp_path / "00000.tar") == [CUT]


def test_an_empty_tar_has_no_samples_and_no_fault(tmp_path):
    assert list(read_tar(write_tar(tmp_path / "00000.tar", []))) == []


def test_a_damaged_header_ends_the_tar_there(tmp_path):
    path = write_tar(tmp_path / "00000.tar", samples())
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        second = tar.getmembers()[3]
    content[second.offset : second.offset + 512] = b"\xff" * 512
    path.write_bytes(content)
    read = list(read_tar(path))
    assert [type(item) for item in read] == [TarSample, Skipped] and read[1].reason == CUT


def test_a_header_that_claims_gigabytes_fills_no_memory(tmp_path):
    path = write_tar(tmp_path / "00000.tar", samples(2))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        first = tar.getmembers()[0]
    first.size = 7 * 2**30
    content[:512] = first.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(content)
    assert reasons(path)[-1] == CUT


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (12.0, 12),
        (12, 12),
        ("12", 12),
        (2**53 + 1, 2**53 + 1),
        (math.nan, None),
        (None, None),
        (1.5, None),
        ("x", None),
    ],
)
def test_sample_ids_are_read_as_laions_tables_have_them(value, number):
    assert whole_number(value) == number


def test_without_sample_id_the_key_is_the_id(tmp_path):
    path = write_tar(tmp_path / "00000.tar", [sample(5, b"picture", SAMPLE_ID="absent")])
    assert [item.id for item in read_tar(path)] == ["laion_face/000000005"]


def test_tars_are_found_in_a_folder_and_below_it_or_taken_as_named(tmp_path):
    paths = [write_tar(tmp_path / name, []) for name in ("b/00001.tar", "b/00000.tar", "a/00000.tar")]
    assert find_tars(tmp_path) == tuple(map(str, (paths[2], paths[1], paths[0])))
    assert find_tars([str(paths[0]), str(tmp_path / "b")]) == tuple(map(str, (paths[1], paths[0])))
    with pytest.raises(CorpusError, match=r"/c\b.*give the folder that img2dataset wrote"):
        find_tars(tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"/empty\b.*give the folder that img2dataset wrote"):
        find_tars(tmp_path / "empty")


BEYOND = "json with a number of more than 64 bits"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('"SAMPLE_ID": "' + "9" * 5000 + '"', BEYOND),
        ('"SAMPLE_ID": ' + "9" * 5000, "malformed json"),
        ('"SAMPLE_ID": ' + "9" * 400, BEYOND),
        ('"SAMPLE_ID": 1e999', BEYOND),
        ('"SAMPLE_ID": 9223372036854775808', BEYOND),
        ('"original_width": 1' + "0" * 400, BEYOND),
        ('"original_height": "1' + "0" * 400 + '"', BEYOND),
        ('"WIDTH": -1' + "0" * 400, BEYOND),
        ('"url": "http://h/\\ud800.jpg"', "json with a url that is no text"),
        ('"url": ["http://h"]', "json without url"),
        ('"deep": ' + "[" * 100_000 + "]" * 100_000, "malformed json"),
    ],
)
def test_a_json_with_numbers_or_words_beyond_all_bounds_is_counted(tmp_path, entry, reason):
    bad = sample(1, b"picture")
    bad["000000001.json"] = b'{"url": "http://h/1.jpg", ' + entry.encode() + b"}"
    path = write_tar(tmp_path / "00000.tar", [sample(0, b"one"), bad, sample(2, b"two")])
    assert reasons(path) == [reason]
    assert [item.picture for item in read_tar(path) if isinstance(item, TarSample)] == [b"one", b"two"]


@pytest.mark.parametrize("header", ["long names", "a sparse map", "a size"])
def test_headers_that_lie_end_the_tar_and_are_counted(tmp_path, header):
    path = write_tar(tmp_path / "00000.tar", samples(1))
    content = path.read_bytes()
    end = content.rindex(b"\0" * 1024)
    end = len(content[:end].rstrip(b"\0")) // 512 * 512 + 512
    if header == "long names":
        lie = tarfile.TarInfo("././@LongLink")
        lie.type, lie.size = tarfile.GNUTYPE_LONGNAME, 1
        lies = (lie.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 5000
    else:
        lie = tarfile.TarInfo("000000001.jpg")
        name, value = {"a sparse map": ("GNU.sparse.map", "1,x"), "a size": ("size", "9" * 30)}[header]
        lie.pax_headers = {name: value, "GNU.sparse.size": "x"}
        lies = lie.tobuf(tarfile.PAX_FORMAT)
    path.write_bytes(content[:end] + lies + bytes(1024))
    read = list(read_tar(path))
    assert isinstance(read[0], TarSample) and {item.reason for item in read[1:]} <= {CUT, "cut off", LARGE}


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
@pytest.mark.parametrize("there", [True, False], ids=["gigabytes", "gigabytes that are not there"])
def test_a_header_of_gigabytes_ends_the_tar_in_little_memory(tmp_path, kind, there):
    path = write_tar(tmp_path / "00000.tar", samples(1))
    lie = tarfile.TarInfo("././@LongLink")
    lie.type, lie.size = kind, 3 * 2**30
    with tarfile.open(path) as tar:
        end = tar.getmembers()[-1].offset_data + 512  # its txt is in one block
    with open(path, "r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(lie.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + lie.size * there)  # a hole on the disk
    before = peak_memory()
    (first, last) = read_tar(path)
    assert isinstance(first, TarSample) and last.reason == "tar with a header of more than 1 MB: the rest of it"
    assert peak_memory() - before < 50 * 2**20


LARGE = "member of more than 128 MB"


def test_a_name_that_is_no_text_becomes_one(tmp_path):
    path = write_tar(tmp_path / "00000.tar", [{"\udcff1.jpg": b"one", "\udcff1.json": b'{"url": "http://h"}'}])
    assert [item.id.encode() for item in read_tar(path)] == [b"laion_face/\\xff1"]
