"""Benchmarks found by their place: whatever folder has a module `benchmark` is one, by the folder's name."""

import argparse
import re

import pytest

from facemllm.evaluation import export_quality
from facemllm.evaluation.benchmarks import NAMES
from facemllm.evaluation.registry import FOLDERS, load_folder


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_offers_all_that_a_benchmark_is_asked_for(name):
    module = load_folder(name)
    assert name in NAMES and module.ITEMS.islower()
    assert all(callable(getattr(module, part)) for part in ("open_benchmark", "report_figures", "report_lines"))
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    parser.parse_args([])  # none of its own options is required: other benchmarks do without


def test_what_has_no_labelled_faces_is_refused_where_exports_are_compared(capsys):
    assert export_quality.main(["fp32", "int8", "--benchmark", "facexbench"]) == 2
    said = capsys.readouterr().err
    assert re.search("--benchmark facexbench.*dataset, synthetic or a corpus", said)
