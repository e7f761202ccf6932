"""MATLAB's ``.mat`` files, of which a damaged one is a reason to skip a picture and not the end of a build."""

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def read_matlab(path: str | os.PathLike, names: tuple[str, ...]) -> "dict[str, np.ndarray] | str":
    """Those of the arrays ``names`` that the file holds, or the reason for none, as ``Skipped`` counts it.

    Files of MATLAB 7.3, which are HDF5, count as unreadable: none of the datasets here comes in them.
    """
    from scipy.io import loadmat

    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a doubled variable, say; the reader checks what it needs
            return {name: value for name, value in loadmat(file, variable_names=names).items() if name in names}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return "missing label file"
    except PermissionError:
        raise
    except Exception:  # a damaged file gives whatever its parser stumbles on: over ten types, MemoryError among them
        return "unreadable label file"
