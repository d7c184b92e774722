"""docs/threat-model.md claims nothing without a test: each that it names exists, and each row of defences names one."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "threat-model.md").read_text()
NAMED: Final = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
ROWS: Final = re.findall(
    r"^\|[^|]*\|([^|]*)\|([^|]*)\|[^|]*\|$",
    PAGE.partition("| who | cannot | shown by | can |\n|---|---|---|---|\n")[2],
    re.MULTILINE,
)
"""What somebody cannot do, and which test shows it."""


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    tests = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
    assert name in tests


def test_every_defence_names_a_test() -> None:
    assert len(ROWS) > 20
    assert [cannot for cannot, shown_by in ROWS if cannot.strip() and "::test_" not in shown_by] == []


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/threat-model.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
