"""TOML whose keys are known by their lines, which `tomllib` does not tell."""

import tomllib
from functools import cached_property
from itertools import accumulate
from typing import Any


class TomlLines:
    """A TOML document.

    Raises:
        ValueError: it is none; the message has the line.
    """

    def __init__(self, text: str) -> None:
        self.content: dict[str, Any] = tomllib.loads(text)
        self._lines = text.splitlines(keepends=True)

    def line_of(self, where: tuple[str, ...]) -> int:
        """Return the line of the statement that brings a key, or the nearest one above it that is there; from 1."""
        while where:
            for first_line, content in self._beginnings:
                if _holds(content, where):
                    return first_line
            where = where[:-1]
        return 1

    @cached_property
    def _beginnings(self) -> list[tuple[int, dict[str, Any]]]:
        """List the document's beginnings that are documents themselves, each with its last statement's first line.

        A beginning that ends within a statement, a list over several lines for instance, is no document.
        """
        found, first_line = [], 1
        for number, beginning in enumerate(accumulate(self._lines), 1):
            try:
                found.append((first_line, tomllib.loads(beginning)))
            except tomllib.TOMLDecodeError:
                continue
            first_line = number + 1
        return found


def _holds(content: Any, where: tuple[str, ...]) -> bool:
    for key in where:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True
