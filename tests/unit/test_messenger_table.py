"""docs/messenger.md and the tests name each other: every row its tests, and every such test its rows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "messenger.md"
SECTIONS: Final = ("3", "4", "5", "6", "7", "8")
ROW: Final = re.compile(r"^\| `(?P<name>[^`]+)` \|(?P<cells>.*)\|$")
PROOF: Final = re.compile(r"\[(?P<shown>[\w/]+)::(?P<test>\w+)\]\(\.\./(?P<path>tests/[\w/]+\.py)\)")

Test = tuple[str, str]
"""Path and name."""


class Row(NamedTuple):
    """One row of the page."""

    name: str
    section: str
    cells: tuple[str, ...]
    tests: frozenset[Test]


def rows() -> Iterator[Row]:
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").partition(".")[0]
        elif found := ROW.match(line):
            cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", found["cells"]))
            tests = frozenset((proof["path"], proof["test"]) for proof in PROOF.finditer(cells[-1]))
            yield Row(found["name"], section, cells, tests)


def markers() -> dict[str, set[Test]]:
    """Return the tests that bear each row's name: by a decorator, or by one parameter's mark within it."""
    named: dict[str, set[Test]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                test = (path.relative_to(ROOT).as_posix(), node.name)
                for name in (name for decorator in node.decorator_list for name in _named(decorator)):
                    named.setdefault(name, set()).add(test)
    return named


def _named(decorator: ast.expr) -> Iterator[str]:
    for node in ast.walk(decorator):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr="meta"), args=args):
                yield from (str(ast.literal_eval(name)) for name in args)


ROWS: Final = tuple(rows())
MARKERS: Final = markers()


def test_each_section_of_meta_s_has_its_rows() -> None:
    assert {row.section for row in ROWS} == set(SECTIONS)
    assert {row.name: row.section for row in ROWS if re.split(r"[.-]", row.name)[0] != row.section} == {}


def test_a_row_has_a_name_of_its_own_and_every_cell() -> None:
    names = [row.name for row in ROWS]
    assert sorted(names) == sorted(set(names))
    assert [row.name for row in ROWS if len(row.cells) != 3 or not all(row.cells)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_proved_by_the_tests_that_bear_its_name(row: Row) -> None:
    assert row.tests, "no test is named"
    assert row.tests == MARKERS.get(row.name, set())


def test_no_test_bears_the_name_of_a_row_that_is_not_there() -> None:
    assert MARKERS.keys() - {row.name for row in ROWS} == set()


def test_a_proof_is_shown_by_the_path_it_leads_to() -> None:
    for proof in PROOF.finditer(PAGE.read_text()):
        assert proof["path"] == f"tests/{proof['shown'].replace('/', '/test_')}.py"
        assert (ROOT / proof["path"]).exists()


def test_whatever_links_to_a_section_finds_it() -> None:
    text = PAGE.read_text()
    headings = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", text, re.M)}
    assert set(re.findall(r"\(#([\w-]+)\)", text)) <= headings
