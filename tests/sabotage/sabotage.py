"""What a sabotage is: a mechanism taken out of the source, and the tests that have to notice."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class MechanismMoved(Exception):
    """The text that a sabotage takes out is not where the table says."""


@dataclass(frozen=True)
class Sabotage:
    """One mechanism that a promise rests on, and the source without it."""

    promise: int
    """Its number in docs/operating.md."""
    sentence: str
    """What pageline then does."""
    file: str
    mechanism: str
    """The exact text, which occurs once in the file."""
    without: str
    """What stands there instead."""
    tests: tuple[str, ...]
    """Node ids of pytest; each of them has to fail."""

    def sabotaged(self, source: str) -> str:
        """Return the source without the mechanism.

        Raises:
            MechanismMoved: the text does not occur exactly once.
        """
        if (times := source.count(self.mechanism)) != 1:
            raise MechanismMoved(
                f"Promise {self.promise}, “{self.sentence}”: the mechanism has moved. Its text occurs {times} times in "
                f"{self.file} and has to occur once. Find where it went and change tests/sabotage/table.py:\n"
                f"{self.mechanism}"
            )
        return source.replace(self.mechanism, self.without)

    @contextlib.contextmanager
    def applied(self, root: Path) -> Iterator[None]:
        """Take the mechanism out of the tree at `root` until the end of the block."""
        path = root / self.file
        source = path.read_text(encoding="utf-8")
        write(path, self.sabotaged(source))
        try:
            yield
        finally:
            write(path, source)


def write(path: Path, source: str) -> None:
    """Change a file so that Python notices: a module of the same size and second passes for the compiled one."""
    path.write_text(source, encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()
