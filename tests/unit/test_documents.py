"""The documents hang together: no link leads nowhere, and a newcomer finds each page in two clicks from README.md."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ("pageline", "ingress", "workers", "shared", "simulator", "tests")
DOCUMENTS: Final = tuple(
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    if name
)


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", (ROOT / document).read_text(), flags=re.DOTALL | re.MULTILINE)


def links(document: Path) -> list[str]:
    """Return where a document leads within the repository."""
    without_code = re.sub(r"(?<!\[)`[^`\n]+`(?!\])", "", prose(document))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code) if not re.match(r"[a-z]+:", link)]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def target(document: Path, link: str) -> Path:
    """Return the file or folder a link leads to."""
    path = link.partition("#")[0]
    return Path(os.path.normpath(document.parent / path)) if path else document


def one_click(documents: Iterable[Path]) -> set[Path]:
    """Return the documents these lead to; a folder shows what lies in it."""
    found = {target(document, link) for document in documents for link in links(document)}
    return {document for document in DOCUMENTS if document in found or document.parent in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        there = target(document, link)
        assert (ROOT / there).exists(), f"{document}: {link} leads nowhere"
        anchor = link.partition("#")[2]
        assert not anchor or there.suffix != ".md" or anchor in anchors(there), (
            f"{document}: {link} has no such heading"
        )


def test_every_page_is_two_clicks_from_the_readme() -> None:
    first = one_click([Path("README.md")])
    pages = {page for page in DOCUMENTS if page.parts[0] in ("docs", "deploy")}
    assert len(pages) > 50
    assert pages - first - one_click(first) == set()


def test_the_tour_names_what_there_is() -> None:
    found = [
        path
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".lua", ".js") and ".cache" not in path.parts  # what `make interop` has installed
    ]
    folders = {part for path in found for part in path.relative_to(ROOT).parts}
    known = (
        folders | {word for path in found for word in re.findall(r"\w+", path.read_text())} | {f.stem for f in found}
    )
    named = set(re.findall(r"`([^`\n]+)`", prose(Path("docs/tour.md"))))
    words = {word for name in named for word in re.findall(r"[A-Za-z_]\w+", name.partition("(")[0])}
    assert len(words) > 50
    assert words - known == set()
