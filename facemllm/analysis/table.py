"""The rows of `facemllm analyze` for people: lines of text, and a table with one line per face."""

import csv
import json
import os
from collections.abc import Mapping
from typing import Any

from datasets_scripts.files import replacing
from datasets_scripts.shown_text import in_spreadsheet, in_terminal
from facemllm.cli import UserError

from .photos import is_video

PLACE = ("image", "frame", "time", "face", "x0", "y0", "x1", "y1", "detection_score")


def task_words(name: str, found: Mapping[str, Any]) -> str:
    """`gender female 0.98`, `age 34 (29 to 41)`, `yaw -12 (-20 to -3)`."""
    name = in_terminal(name.replace("_", " "))
    number = _number(found)
    if number is None:
        return f"{name} {in_terminal(found['label'])} {found['score']:.2f}"
    low, high = found["interval"]
    return f"{name} {round(number)} ({round(low)} to {round(high)})"


def row_name(row: Mapping[str, Any]) -> str:
    """The photo's name; for a frame of a video its time too."""
    in_video = is_video(row["image"]) and row["time"] is not None
    name = in_terminal(row["image"])
    return f"{name} at {row['time']:.2f} s" if in_video else name


def row_words(row: Mapping[str, Any]) -> str:
    """A row as it is shown on a terminal, a line for the photo and one for each of its faces."""
    name = row_name(row)
    if row["error"]:
        return f"{name}: {in_terminal(row['error'])}"
    if not row["faces"]:
        return f"{name}: no face"
    lines = [name]
    for face in row["faces"]:
        x0, y0, x1, y1 = face["box"]
        tasks = [task_words(name, found) for name, found in face["tasks"].items()]
        lines.append(f"  {x1 - x0:.0f}×{y1 - y0:.0f} at {x0:.0f},{y0:.0f}: {', '.join(tasks) or 'a face'}")
        lines += [f"    {in_terminal(question)} {in_terminal(answer)}" for question, answer in face["answers"].items()]
    return "\n".join(lines)


def check_table(path: str | os.PathLike) -> None:
    """Refuse to replace a file that is no such table. Raises `UserError`."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            start = file.read(200)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"--csv {path}: {error.strerror}; give another file") from error
    if start and not start.startswith(",".join(PLACE[:4])):
        raise UserError(f"--csv {path}: the file is there and is no table of faces; give another --csv, or delete it")


def write_table(rows: str | os.PathLike, path: str | os.PathLike) -> None:
    """The file of rows as CSV, a line per face. The old table gives way when the new one is whole.

    Of each task there are its label, `TASK.score`, and `TASK.number` where it is a number; of each question its
    answer. Photos without a face, or that failed, have no line.
    """
    columns = None
    with open(rows, encoding="utf-8") as lines, replacing(path, "w") as file:
        table = csv.writer(file)
        for line in lines:
            row = json.loads(line)
            for at, face in enumerate(row["faces"]):
                cells = _cells(row, at, face)
                if columns is None:
                    columns = list(cells)
                    table.writerow(map(in_spreadsheet, columns))
                table.writerow([in_spreadsheet(cells.get(column)) for column in columns])
        if columns is None:
            table.writerow(PLACE)


def _cells(row: Mapping[str, Any], at: int, face: Mapping[str, Any]) -> dict[str, Any]:
    place = (row["image"], row["frame"], row["time"], at, *face["box"], face["detection_score"])
    cells = dict(zip(PLACE, place, strict=True))
    for name, found in face["tasks"].items():
        cells |= {name: found["label"], f"{name}.score": round(found["score"], 4)}
        if (number := _number(found)) is not None:
            cells[f"{name}.number"] = round(number, 2)
    return cells | {f"answer: {asked}" if asked in cells else asked: said for asked, said in face["answers"].items()}


def _number(found: Mapping[str, Any]) -> float | None:
    return next((found[name] for name in ("age", "degrees") if found.get(name) is not None), None)
