"""DISFA in miniature: real little videos, label files with gaps, folders of extracted frames."""

import io
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace
from datasets_scripts.sources.disfa import DISFA, UNITS, VideoFrames
from tests.refusals import refuses

FRAMES = 30
SIDE = 48


def shade(person, number):
    """The grey level that frame `number` of a person's video has all over."""
    return 20 + 7 * number if person == "SN003" else 230 - 5 * number


def write_video(path, person="SN003", frames=FRAMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (SIDE, SIDE))
    for number in range(1, frames + 1):
        writer.write(np.full((SIDE, SIDE, 3), shade(person, number), np.uint8))
    writer.release()


def write_labels(root, person, frames=FRAMES, units=UNITS, intensity=lambda unit, frame: (unit + frame) % 6):
    folder = root / "ActionUnit_Labels" / person
    folder.mkdir(parents=True, exist_ok=True)
    for unit in units:
        lines = [f"{frame},{intensity(unit, frame)}\n" for frame in range(1, frames + 1)]
        (folder / f"{person}_au{unit}.txt").write_text("".join(lines))


@pytest.fixture
def root(tmp_path):
    """Three people of the first fold's test set (part 3) and one that it trains on."""
    for person in ("SN003", "SN004", "SN001"):
        write_labels(tmp_path, person)
        write_video(tmp_path / f"Videos_LeftCamera/LeftVideo{person}_comp.avi", person)
    return tmp_path


def faces(root, *part, split="test", **settings):
    return list(DISFA(str(root), split, **settings).faces(*part))


def seen(read):
    return [face for face in read if isinstance(face, LabelledFace)]


def grey(face):
    return np.asarray(Image.open(io.BytesIO(face.image["bytes"]))).mean()


def test_a_frame_becomes_a_face_with_the_intensity_of_every_unit(root):
    face = seen(faces(root))[0]
    assert (face.id, face.split, face.source) == ("disfa/SN003/0001", "test", "DISFA")
    assert face.labels == {"action_units": {unit: (unit + 1) % 6 for unit in UNITS}}
    assert face.url == "Videos_LeftCamera/LeftVideoSN003_comp.avi#frame=1"
    assert face.image["path"] == "SN003_0001.jpg" and face.image["bytes"].startswith(b"\xff\xd8")


def test_every_label_meets_its_own_frame_of_the_video(root):
    for face in seen(faces(root)):
        _, person, number = face.id.split("/")
        assert grey(face) == pytest.approx(shade(person, int(number)), abs=2)


def test_any_part_can_be_read_alone(root):
    reader = pickle.loads(pickle.dumps(DISFA(str(root), "test")))
    everything = list(reader.faces())
    assert len(reader) == len(everything)
    for start, stop in ((0, 3), (5, 9), (28, 34), (len(everything) - 3, None)):
        assert list(reader.faces(start, stop)) == everything[start:stop]
    assert list(DISFA(str(root), "test", limit=4).faces()) == everything[:4]
    assert len(DISFA(str(root), "test", limit=4)) == 4


def test_a_unit_whose_file_lacks_a_frame_is_unknown_in_it(root):
    write_labels(root, "SN003", frames=28, units=(12,))
    (root / "ActionUnit_Labels/SN003/SN003_au26.txt").unlink()
    last = {face.id: face for face in faces(root)}["disfa/SN003/0029"]
    assert set(last.labels["action_units"]) == set(UNITS) - {12, 26}


def test_an_intensity_that_is_none_is_left_out_and_a_frame_without_any_is_skipped(root):
    write_labels(root, "SN003", intensity=lambda unit, frame: {1: 9, 2: "x", 3: 2}.get(frame, unit % 3))
    first, second, third = faces(root, 0, 3)
    assert (first.reason, second.reason) == ("undefined label", "undefined label")
    assert set(third.labels["action_units"]) == set(UNITS)
    assert grey(third) == pytest.approx(shade("SN003", 3), abs=2)


def test_what_cannot_be_used_is_counted_by_its_reason(root):
    write_labels(root, "SN003", frames=FRAMES + 2)
    write_labels(root, "SN005")
    write_labels(root, "SN007")
    (root / "Videos_LeftCamera/LeftVideoSN007_comp.avi").write_bytes(b"RIFF no video")
    reasons = [face.reason for face in faces(root) if not isinstance(face, LabelledFace)]
    counts = {reason: reasons.count(reason) for reason in reasons}
    assert counts == {
        "video ends before its labels": 2,
        "missing video": FRAMES,
        "unreadable video": FRAMES,
        "missing label files": 5,  # SN008, SN017, SN023, SN025 and SN029 are not there at all
    }


def test_people_are_divided_into_three_folds_that_share_nobody(root):
    write_labels(root, "SN013")
    tested = [set(DISFA(str(root), "test", fold=fold).people) for fold in (1, 2, 3)]
    trained = [set(DISFA(str(root), "train", fold=fold).people) for fold in (1, 2, 3)]
    assert all(
        len(test) == 9 and len(train) == 18 and not test & train for test, train in zip(tested, trained, strict=True)
    )
    assert len(set.union(*tested)) == 27
    assert tested[0] == {"SN003", "SN004", "SN005", "SN007", "SN008", "SN017", "SN023", "SN025", "SN029"}


def test_frames_can_be_left_out_regularly(root):
    numbers = [face.id[-4:] for face in seen(faces(root, every=10)) if "SN003" in face.id]
    assert numbers == ["0001", "0011", "0021"]


def test_the_other_spellings_of_folder_and_file_are_found(root):
    (root / "Videos_LeftCamera").rename(root / "Video_LeftCamera")
    (root / "Video_LeftCamera/LeftVideoSN003_comp.avi").rename(root / "Video_LeftCamera/LeftVideoSN003_Comp.avi")
    assert seen(faces(root))[0].url == "Video_LeftCamera/LeftVideoSN003_Comp.avi#frame=1"


def test_the_right_cameras_videos_are_read_on_request(root):
    write_video(root / "Videos_RightCamera/RightVideoSN003_comp.avi")
    assert seen(faces(root, camera="right"))[0].url == "Videos_RightCamera/RightVideoSN003_comp.avi#frame=1"


@pytest.mark.parametrize(("first", "given"), [(0, None), (1, None), (0, 0), (1, 1)])
def test_extracted_frames_are_read_as_their_own_bytes(root, first, given):
    frames = root / "extracted"
    (frames / "SN003").mkdir(parents=True)
    for number in range(FRAMES):
        picture = Image.new("L", (8, 8), shade("SN003", number + 1))
        picture.save(frames / f"SN003/{number + first:04d}.png")
    (frames / f"SN003/{first + 5:04d}.png").unlink()
    (frames / "SN003/Thumbs.db").write_bytes(b"")
    read = faces(root, 0, FRAMES, frames=str(frames), first_frame=given)
    assert read[5].reason == "missing image"
    assert (
        all(grey(face) == shade("SN003", int(face.id[-4:])) for face in seen(read)) and len(seen(read)) == FRAMES - 1
    )
    assert seen(read)[0].url == f"SN003/{first:04d}.png"
    assert seen(read)[0].image["bytes"] == (frames / seen(read)[0].url).read_bytes()


def test_the_place_of_extracted_frames_is_no_part_of_what_the_faces_depend_on(root):
    (root / "a").mkdir()
    (root / "b").mkdir()
    described = [DISFA(str(root), "test", frames=str(root / name)).describe() for name in ("a", "b")]
    assert described[0] == described[1] != DISFA(str(root), "test").describe()


def test_a_playlist_named_as_a_video_opens_no_other_file(root):
    path = root / "Videos_LeftCamera/LeftVideoSN003_comp.avi"
    path.rename(path.with_name("other.avi"))
    path.write_text("ffconcat version 1.0\nfile other.avi\n")
    with VideoFrames(path) as video:
        assert video.read(1) == "unreadable video"


def test_a_video_is_decoded_from_any_frame_and_backwards(root):
    with VideoFrames(root / "Videos_LeftCamera/LeftVideoSN003_comp.avi") as video:
        for number in (7, 8, 20, 3, 3, FRAMES):
            shades = np.asarray(Image.open(io.BytesIO(video.read(number))))
            assert shades.mean() == pytest.approx(shade("SN003", number), abs=2)
        assert video.read(FRAMES + 1) == "video ends before its labels"
        assert isinstance(video.read(1), bytes)


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("fold", 4, ["1", "2", "3"]),
        ("every", 0, ["1", "all frames"]),
        ("split", "validation", ["train", "test"]),
        ("camera", "top", ["left", "right"]),
        ("first_frame", 2, ["0", "1"]),
    ],
)
def test_wrong_settings_are_refused(root, argument, value, remedy):
    with refuses(argument, value, *remedy):
        DISFA(str(root), **{"split": "test", argument: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"camera": "right"}, "Videos_RightCamera.*Video_RightCamera.*--frames"),
        ({"frames": "nowhere"}, r"frames='nowhere': .*folder.*SN001"),
        ({"fold": 2}, r"SN006, .*fold 2\b"),
    ],
)
def test_a_folder_without_what_is_read_is_named(root, settings, message):
    with pytest.raises(CorpusError, match=message):
        DISFA(str(root), **{"split": "test", **settings})


def test_a_label_file_of_something_else_is_named_with_the_line(root):
    (root / "ActionUnit_Labels/SN003/SN003_au9.txt").write_text("1,0\nframe 2\n")
    with pytest.raises(CorpusError, match=r"SN003_au9\.txt, line 2\b.*'frame 2'.*frame,intensity.*unpack"):
        faces(root)
