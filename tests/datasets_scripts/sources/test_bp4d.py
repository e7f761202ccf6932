"""BP4D in miniature: occurrence and intensity files, frame names with more or fewer digits."""

import pickle

import pytest
from PIL import Image

from datasets_scripts.schema import CorpusError, LabelledFace, assistant_turn, make_record, user_turn, validate_record
from datasets_scripts.sources.bp4d import BP4D, INTENSITY_UNITS, UNITS
from tests.refusals import refuses

COLUMNS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28)


def code(unit, frame):
    return 9 if unit == 2 and frame % 2 else (unit + frame) % 2


def write_recording(root, person="F007", task="T1", frames=(2440, 2441, 2442), digits=4, columns=COLUMNS, code=code):
    labels = root / "AUCoding/AU_OCC"
    labels.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, (0, *columns)))]
    lines += [",".join(str(value) for value in (frame, *(code(unit, frame) for unit in columns))) for frame in frames]
    (labels / f"{person}_{task}.csv").write_text("\n".join(lines) + "\n")
    for unit in INTENSITY_UNITS:
        folder = root / f"AUCoding/AU_INT/AU{unit:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{frame},{9 if frame == frames[-1] else (unit + frame) % 6}\n" for frame in frames)
        (folder / f"{person}_{task}_AU{unit:02d}.csv").write_text(rows)
    (root / person / task).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        Image.new("RGB", (16, 16), (frame % 256, 90, 90)).save(root / person / task / f"{frame:0{digits}d}.jpg")


@pytest.fixture
def root(tmp_path):
    """Two people that fold 1 tests on, and one that it trains on."""
    write_recording(tmp_path)
    write_recording(tmp_path, task="T2", frames=(721, 722))
    write_recording(tmp_path, person="M015", task="T8", frames=(1, 2), digits=3)
    write_recording(tmp_path, person="F001")
    return tmp_path


def faces(root, *part, split="test", **settings):
    return list(BP4D(str(root), split, **settings).faces(*part))


def seen(read):
    return [face for face in read if isinstance(face, LabelledFace)]


def test_a_coded_frame_becomes_a_face_with_the_units_that_are_known(root):
    face = seen(faces(root))[1]
    assert (face.id, face.url, face.split) == ("bp4d/F007/T1/2441", "F007/T1/2441.jpg", "test")
    assert face.labels["action_units"] == {unit: code(unit, 2441) for unit in UNITS if unit != 2}
    assert face.labels["gender"] == "female"
    assert face.image == {"bytes": (root / face.url).read_bytes(), "path": "F007_T1_2441.jpg"}


def test_a_face_makes_a_sound_record(root):
    face = seen(faces(root))[0]
    turns = [user_turn("Which action units are active?", image=True), assistant_turn("AU1.")]
    parts = {name: getattr(face, name) for name in ("id", "image", "labels", "split", "source", "license", "url")}
    record = make_record(messages=turns, task="action_units", **parts)
    validate_record(record)
    assert {"unit": 12, "intensity": 0.0} in record["labels"]["action_units"]


def test_frames_are_found_whatever_zeros_their_names_begin_with(root):
    urls = {face.id: face.url for face in seen(faces(root))}
    assert urls["bp4d/F007/T2/0721"] == "F007/T2/0721.jpg"
    assert urls["bp4d/M015/T8/0001"] == "M015/T8/001.jpg"


def test_nine_is_unknown_and_a_frame_without_any_code_is_skipped(root):
    write_recording(root, code=lambda unit, frame: 9 if frame == 2440 else 1 if unit == 12 else "")
    read = {face.id: face for face in faces(root)}
    assert read["bp4d/F007/T1/2440"].reason == "undefined label"
    assert read["bp4d/F007/T1/2441"].labels["action_units"] == {12: 1}


def test_what_is_missing_is_counted_by_its_reason(root):
    (root / "F007/T1/2441.jpg").unlink()
    (root / "F007/T1/2442.jpg").write_bytes(b"no picture")
    (root / "AUCoding/AU_OCC/F004_T1.csv").write_text(",".join(map(str, (0, *COLUMNS))) + "\n")
    reasons = [face.reason for face in faces(root) if not isinstance(face, LabelledFace)]
    counts = {reason: reasons.count(reason) for reason in reasons}
    missing = 13 * 8 - 4
    assert counts == {"missing image": 1, "unreadable image": 1, "empty label file": 1, "missing label file": missing}


def test_people_are_divided_into_three_folds_that_share_nobody(root):
    write_recording(root, person="M005")
    tested = [BP4D(str(root), "test", fold=fold).people for fold in (1, 2, 3)]
    assert [len(people) for people in tested] == [13, 14, 14]
    everybody = {*(f"F{number:03d}" for number in range(1, 24)), *(f"M{number:03d}" for number in range(1, 19))}
    assert set(sum(tested, ())) == everybody
    assert set(BP4D(str(root), "train", fold=1).people) == everybody - set(tested[0])


def test_intensities_are_a_coding_of_their_own(root):
    read = {face.id: face for face in faces(root, coding="intensity")}
    first, last = read["bp4d/F007/T1/2440"], read["bp4d/F007/T1/2442"]
    assert first.labels["action_units"] == {unit: (unit + 2440) % 6 for unit in INTENSITY_UNITS}
    assert last.reason == "undefined label"  # 9 in all five files


def test_pictures_may_lie_elsewhere(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("pictures")
    for person in ("F007", "M015", "F001"):
        (root / person).rename(elsewhere / person)
    with pytest.raises(CorpusError, match=r"F007.*folder.*images=.*--images"):
        BP4D(str(root), "test")
    read = BP4D(str(root), "test", images=str(elsewhere))
    assert len(seen(read.faces())) == 7 and str(elsewhere) not in str(read.describe())
    (root / "Sequences(2D+3D)").mkdir()
    (elsewhere / "F007").rename(root / "Sequences(2D+3D)/F007")
    assert len(seen(faces(root))) == 5


def test_any_part_can_be_read_alone(root):
    reader = pickle.loads(pickle.dumps(BP4D(str(root), "test")))
    everything = list(reader.faces())
    assert len(reader) == len(everything)
    for start, stop in ((0, 4), (3, 30), (len(everything) - 20, None)):
        assert list(reader.faces(start, stop)) == everything[start:stop]
    assert [face.id for face in seen(faces(root, every=2))][:3] == [
        "bp4d/F007/T1/2440",
        "bp4d/F007/T1/2442",
        "bp4d/F007/T2/0721",
    ]


@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [("coding", "both", ["occurrence", "intensity"]), ("fold", 0, ["1", "2", "3"])],
)
def test_wrong_settings_are_refused(root, argument, value, remedy):
    with refuses(argument, value, *remedy):
        BP4D(str(root), "test", **{argument: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": "nowhere"}, r"images='nowhere': .*folder.*F001"),
        ({"fold": 2}, r"AU_OCC\b.*F003, .*fold 2\b"),
        ({"root": "nowhere"}, r"nowhere\b.*folder of BP4D.*AUCoding"),
    ],
)
def test_a_folder_without_what_is_read_is_named(root, settings, message):
    with pytest.raises(CorpusError, match=message):
        BP4D(**{"root": str(root), "split": "test", **settings})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("frame,AU1,AU2\n1,0,1\n", r"\b1, 2\b"),
        ("0,1,2\nfirst,0,1\n", "'first,0,1'.*unpack"),
        ('0,1,2\n1,"0,1\n2,0,1\n', r"line 2\b.*remove.*quotation mark"),
        (b"0,1,2\n\xff\xfe,0,1\n", "unpack"),
    ],
)
def test_a_file_that_is_no_occurrence_file_is_named(root, content, message):
    content = content if isinstance(content, bytes) else content.encode()
    (root / "AUCoding/AU_OCC/F007_T1.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=f"F007_T1.csv.*{message}"):
        faces(root)
