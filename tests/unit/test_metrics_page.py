"""docs/metrics.md lists what /metrics shows: all of it, nothing else, each with its kind and its labels."""

import re
from pathlib import Path
from typing import Final

from tests.unit.test_alerts import families

PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"
OF_A_HISTOGRAM: Final = "le"


def listed() -> dict[str, tuple[str, set[str]]]:
    rows = re.findall(r"^\| `(pageline_\w+)` \| (\w+) \|(.*?)\| .+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def shown() -> dict[str, tuple[str, set[str]]]:
    found = {}
    for family in families():
        if family.name.startswith("pageline_") and not family.name.endswith("_created"):
            labels = {label for sample in family.samples for label in sample.labels}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, labels - {OF_A_HISTOGRAM}
    return found


def test_the_page_lists_what_is_shown_and_nothing_else() -> None:
    assert listed() == shown()


def test_no_label_has_values_without_bound() -> None:
    labels = {label for _, of_it in shown().values() for label in of_it}
    assert labels <= {
        "status", "event", "routed", "field", "outcome", "state", "kind", "queue", "action", "verdict", "page", "about",
        "how", "why", "sink",
    }  # fmt: skip
