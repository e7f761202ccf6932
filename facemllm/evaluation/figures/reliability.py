"""How far probabilities can be believed: calibration error, Brier score, log-likelihood, reliability bins."""

from typing import Any

import numpy as np

from .bootstrap import Statistic, Summed, ratio, wilson_interval

BINS = 15
"""As in Guo et al. (ICML 2017)."""

_SCORES = 3
_SIMULATIONS = 4000


def reliability(references: np.ndarray, probabilities: np.ndarray) -> Summed:
    """Calibration of the likeliest class, and two proper scores of the whole distribution.

    `ece` is the expected calibration error over 15 bins of equal width, `(0, 1/15] …` (Guo et al., ICML 2017), and
    `adaptive_ece` over 15 bins with equally many rows (Nixon et al., 2019), whose borders resampling leaves alone.
    `brier` sums the squared errors over the classes, halved where there are two (0 to 1 then, 0 to 2 otherwise), and
    `nll` is in nats, probabilities below the float64 epsilon raised to it: both as in scikit-learn. Of classes
    equally likely the first is the likeliest. Both errors are above 0 for a calibrated model too, the more the fewer
    rows there are: compare with `if_calibrated`.

    Args:
        references: codes of the right classes, int64 of shape `(rows,)`.
        probabilities: float64 of shape `(rows, classes)`, each row with sum 1.

    Raises:
        ValueError: when a code is none of the classes, or a row's sum is not 1.
    """
    from scipy.sparse import csr_array

    rows, classes = probabilities.shape
    if ((references < 0) | (references >= classes)).any():
        raise ValueError(
            f"references must be places 0 to {classes - 1}, one of the {classes} probabilities of each row"
        )
    if not np.allclose(probabilities.sum(-1), 1, atol=1e-3):
        raise ValueError("each row of probabilities must have sum 1; normalise them over the options")
    confidence = probabilities.max(-1, initial=0.0)
    right = probabilities.argmax(-1) == references if classes else np.zeros(rows, bool)
    chosen = probabilities[np.arange(rows), references]
    brier = (probabilities**2).sum(-1) - 2 * chosen + 1
    scores = np.stack(
        [brier / 2 if classes == 2 else brier, -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1)), np.ones(rows)],
        axis=-1,
    )
    equal_width, equal_mass = _places(confidence)
    # Scores, then for each bin of either kind its rows, their confidence, and how many are right.
    in_bin = np.stack([np.ones(rows), confidence, right], axis=-1)
    values = np.concatenate([scores, in_bin, in_bin], axis=-1)
    starts = [np.zeros(rows, np.int64), _SCORES + 3 * equal_width, _SCORES + 3 * (BINS + equal_mass)]
    columns = np.stack(starts, axis=-1)[..., None] + np.arange(3)
    ends = np.arange(rows + 1) * values.shape[1]
    sparse = csr_array((values.ravel(), columns.ravel(), ends), shape=(rows, _SCORES + 6 * BINS))

    def mean(place: int) -> Statistic:
        return Statistic(lambda s: ratio(s[..., place], s[..., 2]), lambda s: s[..., 2], higher_is_better=False)

    return Summed(
        sparse,
        {
            "ece": _calibration_error(_SCORES),
            "adaptive_ece": _calibration_error(_SCORES + 3 * BINS),
            "brier": mean(0),
            "nll": mean(1),
        },
    )


def _places(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each row among those of equal width, and among those with equally many rows."""
    equal_width = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)
    # Rows of the same confidence share a bin: their order is chance, and splitting them would be taken for error.
    equal_mass = np.searchsorted(np.sort(confidence), confidence, "left") * BINS // max(1, len(confidence))
    return equal_width, equal_mass


def _bins(sums: np.ndarray, start: int = _SCORES) -> np.ndarray:
    """Sums as `(..., BINS, 3)`: rows, confidence, right."""
    return sums[..., start : start + 3 * BINS].reshape(*sums.shape[:-1], BINS, 3)


def _calibration_error(start: int) -> Statistic:
    def value(sums: np.ndarray) -> np.ndarray:
        bins = _bins(sums, start)
        return ratio(np.abs(bins[..., 1] - bins[..., 2]).sum(-1), bins[..., 0].sum(-1))

    return Statistic(value, lambda sums: sums[..., 2], higher_is_better=False, folded=True)


def reliability_bins(sums: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """The 15 bins of equal width as a reliability diagram shows them; `accuracy` has Wilson's interval.

    Args:
        sums: the column sums of `reliability`'s rows.
    """
    entries = []
    for place, (count, believed, right) in enumerate(_bins(sums).tolist()):
        entries.append(
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "n": round(count),
                "confidence": believed / count if count else None,
                "accuracy": right / count if count else None,
                "interval": wilson_interval(right / count, round(count), confidence) if count else None,
            }
        )
    return entries


def if_calibrated(probabilities: np.ndarray, seed: int = 0) -> dict[str, dict[str, float]]:
    """What a perfectly calibrated model with these probabilities has as `ece` and `adaptive_ece`.

    In a bin the number of right answers then has the mean Σ p and the variance Σ p(1 - p); it is taken for normal.

    Returns:
        For each of the two errors its `mean`, and `p95`, below which it lies in 95 % of cases. Empty without rows.
    """
    rows = len(probabilities)
    if rows == 0:
        return {}
    confidence = np.minimum(probabilities.max(-1), 1)
    normal = np.abs(np.random.default_rng(seed).standard_normal((_SIMULATIONS, BINS)))
    found = {}
    for name, places in zip(("ece", "adaptive_ece"), _places(confidence), strict=True):
        spread = np.sqrt(np.bincount(places, weights=confidence * (1 - confidence), minlength=BINS))
        errors = normal @ spread / rows
        found[name] = {"mean": float(errors.mean()), "p95": float(np.quantile(errors, 0.95))}
    return found
