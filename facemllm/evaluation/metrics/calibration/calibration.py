"""Calibration of option probabilities: expected calibration error, Brier score, reliability."""

from facemllm.evaluation.metrics import definitions


class Calibration(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.reliability`."""

    definition = definitions.CALIBRATION
