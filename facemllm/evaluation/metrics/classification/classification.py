"""Classification of faces into a closed set: accuracy, balanced accuracy, macro F1, confusion."""

from facemllm.evaluation.metrics import definitions


class Classification(definitions.FaceMetric):
    """The `evaluate` module of `facemllm.evaluation.figures.confusion`."""

    definition = definitions.CLASSIFICATION

    def compute(self, *, predictions=None, references=None, **settings):
        """Compute the metric; also of no rows at all, of which `evaluate` cannot tell whether they are numbers."""
        if references is not None and len(references) == 0:
            return self._compute(predictions=[], references=[], **settings)
        return super().compute(predictions=predictions, references=references, **settings)
