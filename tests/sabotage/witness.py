"""A pytest plugin that writes down what became of each test, and the first line it said when it failed.

It runs in the copy of the tree; `stage.py` reads what it wrote.
"""

import json
from collections.abc import Generator
from pathlib import Path

import pytest


class Witness:
    """Writes one line of JSON for each test that ran, and for each set-up or tear-down that failed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write down what pytest makes of it."""
        report = yield
        if call.when == "call" or not report.passed:
            said = said_by(call.excinfo) if call.excinfo else ""
            seen = {"test": item.nodeid, "when": call.when, "outcome": report.outcome, "said": said}
            with self._file.open("a") as file:
                file.write(json.dumps(seen) + "\n")
        return report


def said_by(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the first line of a failure; an assertion without words of its own goes with the code it stands in."""
    first = error.exconly().removeprefix("AssertionError: ").strip().partition("\n")[0]
    if not first.startswith("assert"):
        return first
    return f"{' '.join(str(error.traceback[-1].statement).split())}: {first.removeprefix('assert ')}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file to write to."""
    parser.addoption("--witness", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch."""
    config.pluginmanager.register(Witness(config.getoption("--witness")))
