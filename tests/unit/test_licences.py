"""docs/licences.md lists what pageline asks for, and says what PyAV's wheel brings along."""

import re
import tomllib
from importlib.metadata import files
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "licences.md").read_text()
LISTED: Final = {
    name.lower().replace("_", "-"): licence
    for name, licence in re.findall(r"^\| (\S+) \| (.+) \|$", PAGE, re.MULTILINE)
}


def test_all_that_pageline_asks_for_is_listed_with_a_licence() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[A-Za-z0-9_.-]+", one)[0].lower().replace("_", "-") for one in asked}
    assert names - LISTED.keys() == set()
    assert not {name for name, licence in LISTED.items() if licence in ("UNKNOWN", "")}


def test_the_page_speaks_of_gpl_software_while_pyavs_wheel_holds_it() -> None:
    brought = {match[1] for file in files("av") or () if (match := re.search(r"/lib(x26[45])-", str(file)))}
    said = re.search(r"^\*\*The wheel of PyAV \(`av`\) holds (.*?), which are under the GPL", PAGE, re.MULTILINE)
    assert said
    assert {"x264", "x265"} == brought == set(said[1].split(" and "))
