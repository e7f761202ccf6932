"""Models measured as the field measures them: benchmarks, answers, predictions, metrics, reports."""
