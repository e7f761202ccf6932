"""The field's metrics of face analysis as `evaluate` modules, each with n and a bootstrap interval.

Every folder here is one module: `load("age_estimation")`, or `evaluate.load` with the folder's path, offline. The
mathematics is in `facemllm/evaluation/figures/`, as functions of NumPy arrays.
"""

from pathlib import Path
from typing import Any

NAMES = ("classification", "attributes", "age_estimation", "head_pose", "action_units", "calibration")


def load(name: str, **settings: Any) -> Any:
    """The `evaluate.EvaluationModule` of that name; `settings` go to `evaluate.load`.

    Raises:
        ValueError: when there is no such metric.
    """
    if name not in NAMES:
        raise ValueError(f"metric {name!r} is unknown; there are {', '.join(NAMES)}")
    import evaluate

    return evaluate.load(str(Path(__file__).parent / name), **settings)
