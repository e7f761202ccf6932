"""Prints what was tried, where a number of cases was asked for."""

import os

from tests.robustness.cases import TRIED, table


def pytest_terminal_summary(terminalreporter):
    if TRIED and "FACEMLLM_FUZZ_CASES" in os.environ:
        terminalreporter.section("robustness")
        for line in table():
            terminalreporter.line(line)
