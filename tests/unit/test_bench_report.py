"""The page of a bench's report: one file with nothing from elsewhere, every figure in it, and the command's words."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from pageline.bench.report import page, write
from pageline.benches import benches

SPREAD: Final = [float(number) for number in range(51)]
MACHINE: Final = {
    "cpu": "Some <fast> CPU",
    "cores": 2,
    "system": "Linux",
    "python": "3.11",
    "load_1min_before": 0.1,
    "versions": {"uvicorn": "1"},
}
STACK: Final = {
    "stack": "pageline",
    "webhooks_per_cpu_s": 11_000,
    "cpu_us_per_webhook": 90.1,
    "times_fastapi": 3.4,
    "keeps": "all",
}
LOOK: Final = {"asked": 60, "calls": 60, "worst_p99_gap_ms": 33.0, "worst_missing": 0.001, "cpu": 0.71}
WRONGS: Final = dict.fromkeys(("lost", "kept_twice", "double_accepts", "without_outcome"), 0)
COUNTS: Final = ("posts", "refused_posts", "duplicates_sent", "kills", "freezes", "takeovers", "accepts_repeated")

REPORTS: Final[dict[str, dict[str, Any]]] = {
    "ingress": {
        "rounds": 5,
        "webhooks_per_round": 12_000,
        "mix": "All distinct.",
        "body_bytes": 473,
        "connections": 32,
        "stacks": [{**STACK, "rounds": [10_900, 11_100]}, {**STACK, "stack": "fast<api>", "rounds": [3_000, 3_300]}],
        "aim": {"times_fastapi": 3.0, "met": True},
    },
    "pickup": {
        "rounds": 4,
        "calls_per_s": 10,
        "stacks": [
            {
                "stack": "pageline",
                "calls": 200,
                "unanswered": 1,
                "p50_ms": 6.0,
                "p90_ms": 8.0,
                "p99_ms": 9.9,
                "max_ms": 12.5,
                "spread_ms": SPREAD,
            }
        ],
        "stages_ms": {"the webhook is in the call's log": 1.2, "the accept is at Graph": 6.0},
        "aim": {"p50_ms": 8.0, "p99_ms": 15.0, "met": False},
    },
    "hold": {
        "seconds": 15.0,
        "rows": [
            {
                "mode": "answer",
                "what": "two-way calls",
                "aim": 60,
                "held": 62,
                "failed_at": 66,
                "at": LOOK,
                "looks": [LOOK],
            },
            {
                "mode": "bridge",
                "what": "bridged legs",
                "aim": 300,
                "held": 0,
                "failed_at": None,
                "at": None,
                "looks": [],
            },
        ],
        "aim": {"met": False},
    },
    "desk": {
        "talks": 5,
        "seconds": 10.0,
        "rows": [{"way": "consumer to agent", "heard": 50, "p50_ms": 0.7, "p95_ms": 1.3, "spread_ms": SPREAD}],
        "aim": {"p95_ms": 40.0, "met": True},
    },
    "bots": {
        "silences": [{"protocol": "twilio", "interruptions": 97, "p50_ms": 16.8, "p95_ms": 31.1, "spread_ms": SPREAD}],
        "echo_delay": [{"echo_delay_p50_ms": 25.6, "echo_delay_p95_ms": 49.5, "echoes": 45}] * 2,
        "held": {"held": 60},
        "aim": {"p95_ms": 100.0, "pcm_p95_ms": 60.0, "held": 25, "met": True},
    },
    "media": {"stack": "pageline", "mode": "forward", "cpu_us_per_packet_slot": 66.5},
    "storm": {
        **WRONGS,
        **dict.fromkeys(COUNTS, 7),
        "calls": 10_000,
        "seconds": 81.0,
        "seed": 7,
        "kill_every_s": 3.0,
        "plant": None,
        "outcomes": {"declined": 9_000, "failed": 1_000},
        "strikes": [[3.0, "web-0", "killed"], [9.0, "media-2", "frozen"]],
        "pass": True,
    },
    "soak": {
        "calls": 900,
        "minutes": 10.0,
        "vitals": [{"process": "web", "figure": "rss_mb", "before": 70.0, "after": 70.5, "flat": True}],
        "redis_entries_grown": {"tally": [27, 49]},
        "minutes_seen": [1.0, 2.0],
        "uss_mib": {"web": [70.1, 70.4], "valkey": [4.0, 4.1]},
        "pass": True,
    },
    "console": {
        "calls": 10_000,
        "rows": [{"view": "overview, cold", "ms": 61.5}],
        "aim": {"ms": 1_000, "met": True},
    },
    "scale": {
        "call": {"redis_us": 3_307, "calls": 200},
        "one_redis": {"calls_at_once": 46_638},
        "kept_bytes": {"log": 12_345, "samples": 8_000, "marks": 300},
        "steps": [
            {
                "workers": 50,
                "calls": 900,
                "calls_per_s": 5.0,
                "redis_share": {"beats": 0.017, "samples": 0.023, "turnover": 0.027},
                "load_share": 0.025,
                "worker_second_us": 340.0,
                "sample_us": 33.3,
                "call_us": 800.0,
                "claimed_p50_ms": 0.7,
                "claimed_p99_ms": 1.4,
                "claimed_ms": [0.5, 0.7, 1.4],
                "memory_mb": 18.5,
            }
        ],
    },
}


class Page(HTMLParser):
    """What a browser would make of it: every element closed, and everything that it would fetch."""

    VOID: Final = {"meta", "link", "img", "br", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("member", REPORTS)
def test_each_bench_has_its_table_and_its_plots_and_fetches_nothing(member: str) -> None:
    text = page({"machine": MACHINE, member: REPORTS[member]})
    shown = Page(text)
    assert shown.open == []
    assert "script" not in shown.tags
    assert [each for each in shown.fetched if not each.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert "table" in shown.tags
    assert ("svg" in shown.tags) == (member != "media"), "a single look has no plot"


def test_what_is_aimed_at_is_said_to_be_met_or_not() -> None:
    assert "met Aim: at least 3 times" in Page(page({"machine": MACHINE, "ingress": REPORTS["ingress"]})).text
    missed = Page(page({"machine": MACHINE, "pickup": REPORTS["pickup"]})).text
    assert "not met in this run Aim: p50 at most 8 ms" in missed
    assert "Aim" not in Page(page({"machine": MACHINE, "media": REPORTS["media"]})).text


def test_a_whole_family_is_one_page_and_names_are_not_markup(tmp_path: Path) -> None:
    write(tmp_path / "report.html", {"machine": MACHINE, **REPORTS})
    text = (tmp_path / "report.html").read_text()
    shown = Page(text)
    assert shown.tags.count("section") == len(REPORTS)
    assert len(shown.ids) == len(set(shown.ids))
    assert {each.removeprefix("#") for each in shown.fetched} <= set(shown.ids), "what a plot refers to is in it"
    assert "Some <fast> CPU" in shown.text
    assert "<fast>" not in text
    assert "<api>" not in text, "in a plot neither"
    for figure in ("11,000", "46,638", "12,345", "31.1", "9,000"):
        assert figure in shown.text


def test_options_before_the_name_of_a_bench_are_not_dropped_in_silence() -> None:
    for options in (["--json"], ["--seconds", "15"], ["--report", "report.html"]):
        ran = CliRunner().invoke(benches, [*options, "pickup"])
        assert (ran.exit_code, "write options behind the name" in ran.output) == (2, True)


def test_without_what_draws_nothing_is_measured(tmp_path: Path) -> None:
    order = f"benches(['ingress', '--report', '{tmp_path / 'report.html'}'])"
    program = f"import sys; sys.modules['matplotlib'] = None; from pageline.benches import benches; {order}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert "The bench needs matplotlib" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    ran = CliRunner().invoke(benches, ["console", "--report", str(tmp_path / "nowhere" / "report.html")])
    assert (ran.exit_code, "there is no folder" in ran.output) == (2, True)


@pytest.mark.parametrize(
    "member", ["ingress", "pickup", "hold", "storm", "desk", "bots", "media", "soak", "console", "scale"]
)
def test_every_member_of_the_family_is_a_command_that_writes_a_report(member: str) -> None:
    ran = CliRunner().invoke(benches, [member, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert ran.exit_code == 0
    assert {"--report", "--json"} <= set(re.findall(r"--[a-z-]+", re.sub(r"\x1b\[[0-9;]*m", "", ran.output)))
    assert member in REPORTS
