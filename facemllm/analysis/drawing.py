"""Annotated copies of photos: a box and five points for each face, and what was found beside it."""

import colorsys
import os
import textwrap
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from datasets_scripts.files import replacing

from .photos import Photo, is_video
from .table import task_words

SMALLEST_SIDE, LARGEST_SIDE = 640, 2048  # longer side of a copy, in pixels
MAX_LINES = 12  # of one face's label
MAX_LINE_LENGTH = 40  # of one line
PANEL = (16, 16, 16)

Box = tuple[float, float, float, float]


class FaceDrawings:
    """Copies in a folder that mirrors the folders of the photos; the names hold a hash of where the photo came from,
    so that `a/1.jpg` of two folders, `1.jpg` and `1.png` never meet, nor a copy and an original."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def draw(self, photo: Photo, picture: Image.Image, faces: Sequence[Mapping[str, Any]], size: Sequence[int]) -> str:
        """Write the copy of one photo and return its path in the folder; the arguments are those of `draw_faces`.

        Raises `OSError`; nothing is left half.
        """
        name = drawing_name(photo)
        try:
            with replacing(self.folder / name, sync=False) as file:  # a pause for each picture
                draw_faces(picture, faces, size).save(file, "JPEG", quality=90)
        except OSError as error:
            raise OSError(f"--draw {self.folder}: {name} cannot be written ({error.strerror or error})") from error
        return name


def drawing_name(photo: Photo) -> str:
    """`trip/IMG_1-3f9ac2d101.jpg`; `trip/clip-3f9ac2d101/000030.jpg` for frame 30 of a video."""
    origin = os.path.abspath(photo.name) if os.path.exists(photo.name) else photo.name
    mark = blake2b(os.fsencode(origin), digest_size=5).hexdigest()
    folder, name = os.path.split(photo.relative)
    stem = "".join(letter if letter.isprintable() and letter not in ':*?"<>|\\' else "_" for letter in name)
    stem = os.path.splitext(stem)[0][:60].strip(". ") or "picture"
    name = f"{stem}-{mark}" if not is_video(photo.name) else os.path.join(f"{stem}-{mark}", f"{photo.frame:06d}")
    return os.path.join(folder, f"{name}.jpg")


def reduced(picture: Image.Image) -> Image.Image:
    """The picture as large as its copy will be at most."""
    scale = LARGEST_SIDE / max(picture.size)
    return _resized(picture, scale) if scale < 1 else picture


def draw_faces(picture: Image.Image, faces: Sequence[Mapping[str, Any]], size: Sequence[int]) -> Image.Image:
    """A copy with the faces drawn on it.

    Small pictures are enlarged so that words can be read, very large ones reduced. A label is where it hides no face
    and no other label; where there is no such place, the face has a number, and the label is under the picture.

    Args:
        picture: the photo, or a smaller copy of it.
        faces: dicts with `box` and `landmarks` in pixels of the photo, `tasks` and `answers`.
        size: width and height of the photo.
    """
    longer = max(picture.size)
    copy = _resized(picture, min(max(1.0, SMALLEST_SIDE / longer), LARGEST_SIDE / longer))
    scale, size = max(copy.size) / max(size), copy.size
    unit = max(1, round(max(size) / 400))  # width of a line
    font = ImageFont.load_default(max(14, round(max(size) / 55)))
    boxes = [tuple(side * scale for side in face["box"]) for face in faces]
    pen = ImageDraw.Draw(copy)
    for at, (face, box) in enumerate(zip(faces, boxes, strict=True)):
        color = _color(at)
        pen.rectangle(box, outline=PANEL, width=unit + 2)
        pen.rectangle(box, outline=color, width=unit)
        for x, y in face.get("landmarks") or ():
            pen.circle((x * scale, y * scale), 1.2 * unit + 1, fill=PANEL)
            pen.circle((x * scale, y * scale), 1.2 * unit, fill=color)
    below, taken = [], list(boxes)
    for at, (face, box) in enumerate(zip(faces, boxes, strict=True)):
        lines = label_lines(face)
        if not lines:
            continue
        label = _Label(lines, font, _color(at))
        place = next((p for p in _places(label.size, box, size, unit) if not any(_meet(p, t) for t in taken)), None)
        if place is None:
            below.append((at, lines))
        else:
            label.paint(copy, place[:2])
            taken.append(place)
    return _with_labels_below(copy, below, boxes, font) if below else copy


def label_lines(face: Mapping[str, Any]) -> list[str]:
    """What a label says of a face: a line for each task, the attributes it has on lines together, then the answers."""
    lines, has = [], []
    for name, found in face["tasks"].items():
        if found["scores"].keys() == {"yes", "no"}:
            has += [name.replace("_", " ")] if found["label"] == "yes" else []
        else:
            lines.append(_cut(task_words(name, found)))
    lines += textwrap.wrap(", ".join(has), MAX_LINE_LENGTH)
    for question, answer in face["answers"].items():
        lines += [_cut(question), *textwrap.wrap(answer, MAX_LINE_LENGTH, max_lines=3, placeholder="…")]
    return lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]


def _resized(picture: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS) if size != picture.size else picture.copy()


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_LINE_LENGTH else f"{text[: MAX_LINE_LENGTH - 1]}…"


def _color(at: int) -> tuple[int, int, int]:
    """A bright color for each face of a picture; the golden ratio keeps neighbours apart."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb((0.38 + 0.618034 * at) % 1, 0.65, 1.0))


class _Label:
    """Lines of text on a dark panel with an edge in the face's color."""

    def __init__(self, lines: Sequence[str], font: ImageFont.FreeTypeFont, color: tuple[int, int, int]):
        self._text, self._font, self._color = "\n".join(lines), font, color
        pen = ImageDraw.Draw(Image.new("L", (1, 1)))
        self._gap = max(3, round(font.size / 3))
        _, _, right, bottom = pen.multiline_textbbox((0, 0), self._text, font, spacing=self._gap)
        self.size = round(right) + 3 * self._gap, round(bottom) + 2 * self._gap

    def paint(self, image: Image.Image, corner: tuple[float, float]) -> None:
        x, y = round(corner[0]), round(corner[1])
        pen = ImageDraw.Draw(image)
        pen.rectangle((x, y, x + self.size[0] - 1, y + self.size[1] - 1), fill=PANEL)
        pen.rectangle((x, y, x + max(2, self._gap // 2), y + self.size[1] - 1), fill=self._color)
        at = x + 2 * self._gap, y + self._gap
        pen.multiline_text(at, self._text, (255, 255, 255), self._font, spacing=self._gap)


def _places(label: tuple[int, int], box: Box, size: tuple[int, int], unit: int) -> list[Box]:
    """Where a label may be, in order: under the face, over it, right and left of it; each inside the picture."""
    (width, height), (x0, y0, x1, y1), gap = label, box, 2 * unit
    if width > size[0] or height > size[1]:
        return []
    left, right = min(max(0, x0), size[0] - width), min(max(0, x1 - width), size[0] - width)
    top, under, over = min(max(0, y0), size[1] - height), y1 + gap, y0 - gap - height
    corners = [(left, under), (left, over), (x1 + gap, top), (x0 - gap - width, top), (right, under), (right, over)]
    return [
        (x, y, x + width, y + height) for x, y in corners if 0 <= x <= size[0] - width and 0 <= y <= size[1] - height
    ]


def _meet(place: Box, other: Box) -> bool:
    return place[0] < other[2] and other[0] < place[2] and place[1] < other[3] and other[1] < place[3]


def _with_labels_below(
    copy: Image.Image, labels: Sequence[tuple[int, list[str]]], boxes: Sequence[Box], font: ImageFont.FreeTypeFont
) -> Image.Image:
    """The picture on a sheet with the labels that had no place in it, each with the number that its face bears."""
    painted = []
    for at, lines in labels:
        if len(boxes) > 1:
            number = _Label([str(at + 1)], font, _color(at))
            x, y = boxes[at][:2]
            number.paint(copy, (x, y - number.size[1] if y >= number.size[1] else y))
            lines = [str(at + 1), *lines]
        painted.append(_Label(lines, font, _color(at)))
    gap = max(4, round(font.size / 2))
    places, x, y, row = [], gap, gap, 0
    for label in painted:
        if x > gap and x + label.size[0] + gap > copy.width:
            x, y, row = gap, y + row + gap, 0
        places.append((x, y))
        x, row = x + label.size[0] + gap, max(row, label.size[1])
    width = max(copy.width, *(px + label.size[0] + gap for (px, _), label in zip(places, painted, strict=True)))
    sheet = Image.new("RGB", (width, copy.height + y + row + gap), (40, 40, 40))
    sheet.paste(copy, (0, 0))
    for label, (px, py) in zip(painted, places, strict=True):
        label.paint(sheet, (px, copy.height + py))
    return sheet
