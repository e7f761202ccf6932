"""Every dataset in miniature, in the layout in which it is distributed, as its reader's own test writes it."""

from pathlib import Path

from tests.datasets_scripts.sources import (
    test_affectnet,
    test_aflw2000,
    test_agedb,
    test_biwi,
    test_bp4d,
    test_celeba,
    test_disfa,
    test_fairface,
    test_lfwa,
    test_maad_face,
    test_morph,
    test_raf_db,
    test_utkface,
    test_w300_lp,
)


def _fairface(root: Path) -> None:
    (root / "train").mkdir()
    rows = [(f"train/{number}.jpg", *row[1:]) for number, row in enumerate(test_fairface.ROWS)]
    test_fairface.write_folder(root, rows, name="fairface_label_train.csv")
    test_fairface.write_folder(root)


def _celeba(root: Path) -> None:
    marks = [("Male", "Smiling", "Bald"), ("Wearing_Hat", "Wavy_Hair"), ("Bangs",), ("Goatee",), (), ("Young",)]
    test_celeba.write(root, marks)


def _maad_face(root: Path) -> None:
    test_maad_face.write(root, ({"Male": 1, "Bald": 1, "Goatee": 1}, {"Smiling": 1}, {"Asian": 1}, {}))


def _utkface(root: Path) -> None:
    names = (f"{20 + number}_{number % 2}_{number % 5}_2017011617452{number:04}.jpg" for number in range(40))
    test_utkface.write(root, *names)


def _agedb(root: Path) -> None:
    test_agedb.write(root, *test_agedb.NAMES)


def _morph(root: Path) -> None:
    test_morph.write(root, *({"id_num": f"{number:06}"} for number in range(40)))


def _affectnet(root: Path) -> None:
    labels = [(number % 8, 0.1 * number - 0.4, 0.3) for number in range(8)]
    test_affectnet.write_csv(root, *labels)
    test_affectnet.write_csv(root, *labels, name="validation.csv")


def _w300_lp(root: Path) -> None:
    for folder in test_w300_lp.FOLDERS:
        test_w300_lp.write_face(root, f"{folder}/{folder}_1_0")


def _aflw2000(root: Path) -> None:
    test_aflw2000.write_face(root, 2)


def _biwi(root: Path) -> None:
    for recording in test_biwi.PEOPLE:
        test_biwi.write_frame(root / "hpdb", recording, 3)


def _disfa(root: Path) -> None:
    for person in ("SN003", "SN001"):
        test_disfa.write_labels(root, person)
        test_disfa.write_video(root / f"Videos_LeftCamera/LeftVideo{person}_comp.avi", person)


def _bp4d(root: Path) -> None:
    for person in ("F007", "F001"):
        test_bp4d.write_recording(root, person=person)


WRITERS = {
    "fairface": _fairface,
    "celeba": _celeba,
    "maad_face": _maad_face,
    "lfwa": test_lfwa.write,
    "utkface": _utkface,
    "agedb": _agedb,
    "morph": _morph,
    "raf_db": test_raf_db.write,
    "affectnet": _affectnet,
    "300w_lp": _w300_lp,
    "aflw2000": _aflw2000,
    "biwi": _biwi,
    "disfa": _disfa,
    "bp4d": _bp4d,
}
