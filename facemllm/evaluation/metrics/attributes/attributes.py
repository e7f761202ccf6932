"""Binary facial attributes: accuracy, balanced accuracy and F1 of each, and their means."""

from facemllm.evaluation.metrics import definitions


class Attributes(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.confusion`."""

    definition = definitions.ATTRIBUTES
