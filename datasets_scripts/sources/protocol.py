"""How a dataset is evaluated: the class attribute `PROTOCOL` of each reader, and what several of them say alike."""

from collections.abc import Callable
from dataclasses import dataclass

OUR_SPLIT = "There is no official split; test is the tenth of {who} that a hash puts there, not another paper's."
ALIGNED = "The pictures are shown whole, as distributed."
NAMELESS = "Who a picture shows is not read: intervals are over pictures, too narrow where people have many."


@dataclass(frozen=True)
class Crop:
    """What is shown of a picture whose face has a box: the box's square and `margin` of its side around it."""

    margin: float


@dataclass(frozen=True)
class DatasetProtocol:
    """What a dataset is evaluated on: its split, its tasks unless others are named, and what is particular to it.

    `note` is the protocol in words. `units` are the action units that published figures are about. `person` gives
    the code of the person in a face's id, where the dataset has many pictures of each and says whose they are.
    `official_rows` are those of the split as its authors gave it out, where that is one number.
    """

    split: str
    tasks: tuple[str, ...]
    note: str
    crop: Crop | None = None
    units: tuple[int, ...] = ()
    person: Callable[[str], str] | None = None
    official_rows: int | None = None


def folder_of(id: str) -> str:
    """`F001` of `bp4d/F001/T1/2440`."""
    return id.split("/")[1]
