"""Age in years: mean absolute error, cumulative score, accuracy in age groups."""

from facemllm.evaluation.metrics import definitions


class AgeEstimation(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.errors`."""

    definition = definitions.AGE_ESTIMATION
