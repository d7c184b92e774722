"""A copy of the tree with an environment of its own, in which the copy is what runs: tests, and processes they start.

The environment is a venv without anything in it but a path file, which names the copy and then the packages of the
environment we run in (but not what lies there as a link to the original), and the command `pageline`.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
WHENCE: Final = """
import importlib
for package in ("ingress", "pageline", "shared", "simulator", "workers"):
    print(importlib.import_module(package).__file__)
"""
TEST_WITHIN_S: Final = 100
"""A test that hangs has not failed: nobody learns from it what is wrong."""
START_AND_STOP_S: Final = 60
LAST_WORDS: Final = 300


class NoStage(Exception):
    """The copy could not be made, or is not what would run."""


class Seen(NamedTuple):
    """What became of a test."""

    outcome: str
    """`passed`, `failed`, or what else it was that proves nothing."""
    said: str
    """The first line of what failed."""
    took_s: float

    @property
    def red(self) -> bool:
        """Whether the test itself failed, and not what it stands on."""
        return self.outcome == "failed"


class Stage:
    """A copy of the tree in a folder that is somebody else's to remove."""

    def __init__(self, home: Path) -> None:
        self.tree = home / "tree"
        self._home = home
        self._python = home / "env" / "bin" / "python"
        self._runs = 0

    def build(self) -> None:
        """Copy what git knows of and does not ignore, and make the environment.

        Raises:
            NoStage: this is no git checkout, or the copy would not be what runs.
        """
        for name in _files_of(ROOT):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        venv.create(self._home / "env", with_pip=False, symlinks=True)
        environment = {"base": str(self._home / "env"), "platbase": str(self._home / "env")}
        packages = Path(sysconfig.get_path("purelib", "venv", vars=environment))
        ours = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (packages / "stage.pth").write_text("\n".join((str(self.tree), *ours)) + "\n")
        command = self._python.with_name("pageline")
        command.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pageline "$@"\n')
        command.chmod(0o755)
        self._see_that_the_copy_runs()

    def run(self, tests: Sequence[str]) -> dict[str, Seen]:
        """Run these tests in one pytest and return what became of each."""
        self._runs += 1
        witnessed = self._home / f"witnessed.{self._runs}"
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "-p", "tests.sabotage.witness"]
        limits = [f"--timeout={TEST_WITHIN_S}", f"--basetemp={self._home / 't'}", f"--witness={witnessed}"]
        began_s = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [self._python, "-m", "pytest", *options, *limits, *tests],
                cwd=self.tree,
                env=_environment(),
                capture_output=True,
                check=False,
                text=True,
                timeout=len(tests) * TEST_WITHIN_S + START_AND_STOP_S,
            )
            return _read(witnessed, tests, time.monotonic() - began_s, done.stdout[-LAST_WORDS:])
        return _read(witnessed, tests, time.monotonic() - began_s, "pytest did not come to an end")

    def _see_that_the_copy_runs(self) -> None:
        told = subprocess.run(
            [self._python, "-c", WHENCE],
            cwd=self._home,
            env=_environment(),
            capture_output=True,
            check=False,
            text=True,
        )
        elsewhere = [path for path in told.stdout.splitlines() if not Path(path).is_relative_to(self.tree.resolve())]
        if told.returncode or elsewhere:
            raise NoStage(f"What would run is not the copy in {self.tree}: {elsewhere or told.stderr}")


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """Lend a stage; its folder has a short name, because sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="pl-", ignore_cleanup_errors=True) as home:
        stage = Stage(Path(home).resolve())
        stage.build()
        yield stage


def _files_of(root: Path) -> list[str]:
    """Return what git has in this folder, new files included, without what it ignores."""
    asked = ["git", "-c", f"safe.directory={root}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        told = subprocess.run(asked, cwd=root, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoStage(f"git could not say what {root} consists of: {error}. Run this in a git checkout.") from error
    return [name for name in told.stdout.split("\0") if name]


def _environment() -> dict[str, str]:
    """Return ours, without what would lead Python elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def _read(witnessed: Path, tests: Sequence[str], took_s: float, last_words: str) -> dict[str, Seen]:
    lines = witnessed.read_text().splitlines() if witnessed.exists() else []
    records = [json.loads(line) for line in lines]
    seen = {}
    for test in tests:
        of_it = [record for record in records if record["test"] == test or record["test"].startswith(f"{test}[")]
        seen[test] = Seen(*_judge(of_it, last_words), took_s=took_s)
    return seen


def _judge(records: Sequence[dict[str, str]], last_words: str) -> tuple[str, str]:
    """Say what became of a test: a failed set-up or tear-down is no failed test, nor is one that hangs."""
    if not records:
        return "not run", " ".join(last_words.split())
    for record in records:
        if record["outcome"] == "failed":
            hangs = "from pytest-timeout" in record["said"]
            outcome = "hangs" if hangs else "failed" if record["when"] == "call" else f"failed in {record['when']}"
            return outcome, record["said"]
    skipped = next((record for record in records if record["outcome"] != "passed"), None)
    return (skipped["outcome"], skipped["said"]) if skipped else ("passed", "")
