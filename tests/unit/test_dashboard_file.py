"""The Grafana dashboard asks for metrics and labels that there are, and shows every metric there is."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.test_alerts import exposed

ROOT: Final = Path(__file__).parents[2]
BOARD: Final = json.loads((ROOT / "deploy" / "dashboards" / "pageline.json").read_text())
PANELS: Final[list[dict[str, Any]]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SELECTOR: Final = r"\b(pageline_\w+)(?:\{(.*?)\})?"


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_we_expose(panel: dict[str, Any]) -> None:
    shown = exposed()
    assert expressions(panel)
    for target in panel["targets"]:
        selectors = re.findall(SELECTOR, target["expr"])
        assert selectors
        assert {metric for metric, _ in selectors} <= shown.keys()
        for metric, matchers in selectors:
            for label, value in re.findall(r'(\w+)="(.*?)"', matchers):
                assert value in shown[metric][label]
        known = {label for metric, _ in selectors for label in shown[metric]}
        wanted = [labels.split(", ") for labels in re.findall(r"\bby \((.*?)\)", target["expr"])]
        assert {label for labels in wanted for label in labels} <= known
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= {
            label for labels in wanted for label in labels
        }


def test_every_metric_is_on_some_panel() -> None:
    asked = {metric for panel in PANELS for expr in expressions(panel) for metric, _ in re.findall(SELECTOR, expr)}
    ours = {
        name for name in exposed() if name.startswith("pageline_") and not name.endswith(("_created", "_sum", "_count"))
    }
    assert ours - asked == {"pageline_dead_letters_gone_total"}  # of use to an alert only


def test_no_two_panels_lie_on_one_another() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
