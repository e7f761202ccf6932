"""The types of a run's rows, as `datasets.Features` reads them: what no reader can tell from rows without a face."""

from collections.abc import Mapping
from typing import Any

_NUMBER = {"dtype": "float64", "_type": "Value"}
_PLACE = {"image": "", "frame": 0, "time": 0.0, "size": [0]}
_TYPES = {bool: "bool", int: "int64", float: "float64", str: "string"}


def row_features(face: Mapping[str, Any], drawn: bool) -> dict[str, Any]:
    """What `Features.from_dict` takes for rows whose faces are like `face`; `drawn` is for rows with `drawing`.

    Landmarks and detection scores have their type also where `face` has none.
    """
    points = {"feature": {"feature": _NUMBER, "_type": "List"}, "_type": "List"}
    faces = {**_type_of(face), "landmarks": points, "detection_score": _NUMBER}
    rows = {**_type_of(_PLACE), "faces": {"feature": faces, "_type": "List"}, "error": _type_of("")}
    return {**rows, "drawing": _type_of("")} if drawn else rows


def _type_of(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {name: _type_of(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return {"feature": _type_of(value[0]), "_type": "List"}
    return {"dtype": _TYPES[type(value)], "_type": "Value"}
