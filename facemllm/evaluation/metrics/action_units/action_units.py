"""Facial action units: F1 of each unit over the frames, and their mean."""

from facemllm.evaluation.metrics import definitions


class ActionUnits(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.confusion`."""

    definition = definitions.ACTION_UNITS
