"""docs/errors.md explains every event that is logged as a warning or an error."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LOGGED: Final = r"\.(?:error|warning|exception)\(\s*\"([a-z_]+\.[a-z_]+)\""


def test_whatever_is_logged_as_wrong_is_explained() -> None:
    sources = [
        path.read_text() for of in ("ingress", "pageline", "shared", "workers") for path in (ROOT / of).rglob("*.py")
    ]
    logged = {event for source in sources for event in re.findall(LOGGED, source)}
    explained = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", (ROOT / "docs" / "errors.md").read_text()))
    assert len(logged) > 50
    assert logged - explained == set()
