"""Who takes a call: by caller, direction, hours and holidays; the first rule that holds."""

from pathlib import Path
from typing import Final

import pytest

from shared.choice import Choice
from shared.errors import BadSetting
from shared.pages import read_pages
from shared.settings import Settings

FILE: Final = """
[1]
handler = "shop:answer"
options = { ivr_file = "shop.toml" }
fallback = ["voicemail:answer"]
holidays = ["12-25", "2026-03-04"]
hours = { timezone = "Africa/Lagos", monday = "09:00-17:00", wednesday = "09:00-17:00", friday = "09:00-17:00" }

[[1.rules]]
handler = "vip:answer"
callers = ["77", "78"]
options = { queue = "vip" }
fallback = ["desk:answer", "voicemail:answer"]

[[1.rules]]
handler = "ours:call"
direction = "business_initiated"

[[1.rules]]
handler = "voicemail:answer"
when = "closed"
fallback = []

[2]
"""
OF_PAGE: Final = ("voicemail:answer",)
OF_VIP: Final = ("desk:answer", "voicemail:answer")
OF_ALL: Final = ("late:answer", "last:answer")
MONDAY_NOON_MS: Final = 1_772_452_800_000  # 2026-03-02T12:00Z, 13:00 in Lagos


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "pages.toml").write_text(FILE)
    return Settings(
        pages_file=str(tmp_path / "pages.toml"), call_handler="all:answer", call_fallback="late:answer, last:answer"
    )


@pytest.mark.parametrize(
    ("page", "caller", "direction", "after_h", "chosen"),
    [
        ("1", "5", "user_initiated", 0, Choice("shop:answer", {"ivr_file": "shop.toml"}, OF_PAGE)),
        ("1", "77", "user_initiated", 0, Choice("vip:answer", {"queue": "vip"}, OF_VIP)),
        ("1", "77", "user_initiated", 12, Choice("vip:answer", {"queue": "vip"}, OF_VIP)),
        ("1", "5", "business_initiated", 12, Choice("ours:call", {}, OF_PAGE)),
        ("1", "5", "user_initiated", 4, Choice("voicemail:answer", {}, ())),
        ("1", "5", "user_initiated", -5, Choice("voicemail:answer", {}, ())),
        ("1", "5", "user_initiated", -4, Choice("shop:answer", {"ivr_file": "shop.toml"}, OF_PAGE)),
        ("1", "5", "user_initiated", 24, Choice("voicemail:answer", {}, ())),
        ("1", "5", "user_initiated", 48, Choice("voicemail:answer", {}, ())),
        ("1", "5", "user_initiated", 96, Choice("shop:answer", {"ivr_file": "shop.toml"}, OF_PAGE)),
        ("2", "5", "user_initiated", 0, Choice("all:answer", {}, OF_ALL)),
        ("3", "77", "user_initiated", 0, Choice("all:answer", {}, OF_ALL)),
    ],
)
def test_the_first_rule_that_holds_decides(
    settings: Settings, page: str, caller: str, direction: str, after_h: int, chosen: Choice
) -> None:
    """Monday at 13:00; 17:00, when it closes; 08:00; 09:00; Tuesday, closed; Wednesday the 4th, a holiday; Friday."""
    at_ms = MONDAY_NOON_MS + after_h * 3_600_000
    assert settings.choose(page, caller=caller, direction=direction, at_ms=at_ms) == chosen


def test_every_handler_that_may_be_chosen_is_known(settings: Settings) -> None:
    chosen = {"all:answer", "shop:answer", "vip:answer", "ours:call", "voicemail:answer"}
    assert settings.handlers == {*chosen, "desk:answer", "late:answer", "last:answer"}
    assert Choice("desk:answer", {"queue": "vip"}) in settings.choices, "who takes over is told the same"
    assert settings.may_run("vip:other")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('handler = "nobody"', "rules"),
        ('handler = "a:b"\nwhen = "never"', "when"),
        ('handler = "a:b"\nwhen = "closed"', "when: the Page has no hours"),
        ('handler = "a:b"\ncaller = "77"', "caller"),
        ('when = "open"', "handler"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(tmp_path: Path, rule: str, said: str) -> None:
    file = tmp_path / "pages.toml"
    file.write_text(f"[1]\n[[1.rules]]\n{rule}\n")
    with pytest.raises(BadSetting, match=rf"pages.toml is not usable: \[1\] .*{said}"):
        read_pages(file)
