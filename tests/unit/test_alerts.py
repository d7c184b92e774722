"""The alerts and their runbooks say nothing that is not so: pages, metrics, log events, commands and settings exist."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families

import ingress.webhook  # noqa: F401 counts what a web process shows of its own
from ingress.exposition import Exposition, Known
from pageline.cli import app
from shared.breaker import TRIPS_AT, Trouble
from shared.calls import facts
from shared.calls.ending import FAREWELLS
from shared.calls.state import Outcome
from shared.census import Census, WorkerCensus
from shared.dead import Gone, Standing
from shared.jobs import QUEUES
from shared.page_notes import Note
from shared.quality import LIMITS, Spread
from shared.tally import Latency, Tallied
from shared.vitals import Vital, Vitals
from workers.action.usage import HIGH_PERCENT
from workers.action.verdict import Verdict

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "alerts.yaml"
RULE_TESTS: Final = Path(__file__).with_name("alerts_test.yaml")
PROMTOOL: Final = shutil.which("promtool")
RUNBOOKS: Final = ROOT / "deploy" / "runbooks"
PAGES: Final = sorted(RUNBOOKS.glob("*.md"))
SECTIONS: Final = [
    "What callers notice",
    "How to see it",
    "Likely causes, and what to do",
    "What pageline does meanwhile",
    "When it is over",
]
ONE_SCREEN_LINES: Final = 40


class Alert(NamedTuple):
    """One rule of the file. No YAML parser is among our dependencies, so the file keeps to one plain form."""

    name: str
    expression: str
    runbook: str


def alerts() -> list[Alert]:
    found = []
    for rule in RULES.read_text().split("\n      - alert: ")[1:]:
        expression = re.search(r"^        expr: (\|\n(?:          .*\n)+|.*\n)", rule, re.MULTILINE)
        runbook = re.search(r"^          runbook_url: (\S+)$", rule, re.MULTILINE)
        assert expression, rule
        assert runbook, rule
        found.append(Alert(rule.split("\n")[0], expression[1].removeprefix("|"), runbook[1]))
    return found


def families() -> list[Metric]:
    """Return what /metrics shows when all there is to show is known."""
    actions = {(action, verdict): 1 for action in ("accept", *FAREWELLS) for verdict in (*Verdict, "stale")}
    known = Known(
        Census((WorkerCensus("one", 25, 3),), waiting=1, closed=dict.fromkeys(Outcome, 1), waited_ms=1),
        Standing(kept=1, buried={"action_graph": 2}, gone=dict.fromkeys(Gone, 1)),
        [Trouble("106378625516323", TRIPS_AT, "code 190", HIGH_PERCENT, "x-app-usage")],
        Tallied(actions, {"accept": Latency([("0.05", 1), ("+Inf", 1)], 0.01)}, {"raised": 1, "returned": 1}),
        {figure: Spread([(str(limits[0]), 1), ("+Inf", 1)], 0.1) for figure, limits in LIMITS.items()},
        [Note("106378625516323", about, "adrift") for about in ("subscription", "settings")],
        Vitals([Vital(kind="media", at_ms=0, rss_bytes=1, late_p95_ms=1.0, late_max_ms=2.0)], {"media": 0.5}),
        dict.fromkeys(QUEUES, 0),
        {"file:///var/lib/calls.jsonl": 2},
    )
    of_redis = CollectorRegistry()
    of_redis.register(Exposition(known))
    return list(text_string_to_metric_families((generate_latest(REGISTRY) + generate_latest(of_redis)).decode()))


def exposed() -> dict[str, dict[str, set[str]]]:
    """Return the names on /metrics, their labels, and the labels' values."""
    shown: dict[str, dict[str, set[str]]] = {}
    for family in families():
        for sample in family.samples:
            labels = shown.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return shown


def logged() -> set[str]:
    """Return every event that some process of ours logs."""
    said = re.compile(r"""log\w*(?:\.get\(\))?\.(?:info|warning|error|exception)\(\s*"([a-z_]+\.[a-z_]+)\"""")
    sources = (
        path
        for package in ("shared", "workers", "ingress", "pageline")
        for path in (ROOT / package).rglob("*.py")
        if "bench" not in path.parts
    )
    return {event for source in sources for event in said.findall(source.read_text())}


def commands() -> dict[str, set[str]]:
    """Return our commands and, of those that have some, their own."""
    ours = {command.callback.__name__: set[str]() for command in app.registered_commands if command.callback}
    groups = {
        group.name: {command.name for command in group.typer_instance.registered_commands}
        for group in app.registered_groups
        if group.typer_instance
    }
    return ours | {str(name): {str(one) for one in of_it} for name, of_it in groups.items()}


def quoted(page: Path, pattern: str) -> Iterator[Any]:
    """Yield what a page sets in code, in a line or in a block, and matches, as `re.findall` returns it."""
    text = page.read_text()
    for code in re.findall(r"```\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        yield from re.findall(pattern, "".join(code))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_has_a_page_of_its_own_that_bears_its_name(alert: Alert) -> None:
    assert (ROOT / alert.runbook).read_text().startswith(f"# {alert.name}: ")


def test_every_page_belongs_to_one_alert() -> None:
    assert sorted(ROOT / alert.runbook for alert in alerts()) == PAGES
    assert PAGES


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_metric_label_and_value_of_an_expression_is_one_that_we_expose(alert: Alert) -> None:
    shown = exposed()
    selectors = re.findall(r"\b(pageline_\w+)(?:\{(.*?)\})?", alert.expression)
    assert selectors
    for metric, matchers in selectors:
        assert metric in shown
        for label, values in re.findall(r'(\w+)=~?"(.*?)"', matchers):
            assert set(values.split("|")) <= shown[metric].get(label, set())


def test_an_expression_groups_by_labels_that_its_metrics_have() -> None:
    shown = exposed()
    for alert in alerts():
        known = {label for metric in re.findall(r"\bpageline_\w+", alert.expression) for label in shown[metric]}
        for labels in re.findall(r"\bby \((.*?)\)", alert.expression):
            assert set(labels.split(", ")) <= known, alert.name


def test_every_alert_fires_where_it_should_and_is_silent_where_all_is_well() -> None:
    if PROMTOOL is None:
        missing = "there is no promtool on the PATH; Debian has it in `prometheus`"
        if os.environ.get("PAGELINE_REQUIRE_PROMTOOL"):
            pytest.fail(missing)
        pytest.skip(missing)
    for command in (["check", "rules", RULES], ["test", "rules", RULE_TESTS]):
        ran = subprocess.run([PROMTOOL, *map(str, command)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_rule_test_in_which_it_fires() -> None:
    assert set(re.findall(r'alertname="(\w+)"', RULE_TESTS.read_text())) == {alert.name for alert in alerts()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_the_same_sections_and_fits_on_a_screen(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert all(section.strip() for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])
    assert len(text.splitlines()) <= ONE_SCREEN_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_log_event_on_a_page_is_one_that_we_log(page: Path) -> None:
    assert set(quoted(page, r"^[a-z_]+\.[a-z_]+$")) - logged() == set()


def test_pages_name_log_events() -> None:
    assert len({event for page in PAGES for event in quoted(page, r"^[a-z_]+\.[a-z_]+$")}) > 20
    assert {"worker.froze", "redis.forgot", "breaker.tripped", "valkey.started", "handler.raised"} <= logged()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_metric_setting_fact_and_command_on_a_page_exists(page: Path) -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    known = commands()
    assert set(quoted(page, r"pageline_\w+")) - exposed().keys() == set()
    assert [name for name in quoted(page, r"^[A-Z]+_[A-Z_]+$") if f"`{name}`" not in settings] == []
    assert [name for name in quoted(page, r"^[A-Z][a-z]+[A-Z]\w+$") if not hasattr(facts, name)] == []
    for command, of_it in quoted(page, r"\bpageline ([a-z]+)(?: ([a-z]+)\b)?"):
        assert command in known
        assert not of_it or of_it in known[command]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
