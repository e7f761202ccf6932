"""Head pose: mean absolute error of yaw, pitch and roll, and of the three."""

from facemllm.evaluation.metrics import definitions


class HeadPose(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.errors`."""

    definition = definitions.HEAD_POSE
