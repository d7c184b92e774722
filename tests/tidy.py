"""House rules that no linter knows, as tests; `make check` runs them.

A rule that stands in the way is changed here, with its reason, and not worked around.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PRODUCT: Final = ("ingress", "pageline", "shared", "simulator", "workers")
LONGEST_MODULE_LINES: Final = 350
LONGEST_SLEEP_S: Final = 0.1

TYPE_IGNORES: Final = {
    "simulator/phone.py": 3,  # aiortc's jitter buffer is too deep for a test line, and its packets pass by our keypad
    "simulator/wire.py": 1,  # asyncio declares a base transport where a TCP server always hands over a full one
}
"""Where mypy is told to look away, and how often; untyped libraries are wrapped once instead."""

GRAPH_HOST: Final = ("shared/settings.py", "tests/unit/test_settings.py")
"""Who may name Meta's host: the setting, and the test of its default. Docs may, too."""


KEYS_ARE_KNOWN_BY: Final = (
    "shared/bus.py",
    "shared/dead.py",
    "shared/breaker.py",
    "shared/tally.py",
    "shared/vitals.py",
    "shared/quality.py",
    "shared/messenger.py",
    "shared/owed.py",
    "shared/ended.py",
    "shared/forgetting.py",
    "shared/page_notes.py",
    "shared/desk/",
    "shared/lua/",
)
"""Calls on the bus; dead letters, what the action workers have to say of Graph and of Pages, how calls sounded and how
processes are, messages under way, what is owed to Meta, whose records are due, who is to be forgotten, and the desk,
which no step on the bus depends on, in a small place each."""


STEPS_ARE_LOADED_BY: Final = ("bus.py", "outbound.py", "dead.py", "forgetting.py", "desk/floor.py")


def files(*suffixes: str, under: tuple[str, ...] = ()) -> Iterator[Path]:
    """Walk the files that are ours, in these folders or in all: nothing hidden, nothing made."""
    tops = [ROOT / folder for folder in under] or [path for path in sorted(ROOT.iterdir()) if path.name[0] != "."]
    for top in tops:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            hidden = any(part[0] == "." or part == "__pycache__" for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden and (not suffixes or path.suffix in suffixes):
                yield path


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def lines_with(pattern: str, *suffixes: str, under: tuple[str, ...] = ()) -> list[str]:
    """List `file:line` of every match, this file left out: it holds the patterns."""
    wanted = re.compile(pattern)
    return [
        f"{name(path)}:{number}"
        for path in files(*suffixes, under=under)
        if path != Path(__file__)
        for number, line in enumerate(text(path).splitlines(), 1)
        if wanted.search(line)
    ]


def test_nothing_is_named_after_having_no_name() -> None:
    nameless = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [name(path) for path in files() if nameless & {path.stem, *path.relative_to(ROOT).parts}] == []


@pytest.mark.parametrize("package", PRODUCT)
def test_a_module_fits_in_a_head(package: str) -> None:
    lengths = {name(path): len(text(path).splitlines()) for path in files(".py", ".lua", under=(package,))}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE_LINES} == {}


def test_nothing_is_left_to_do_in_comments() -> None:
    assert (
        lines_with(r"\b(TODO|FIXME|XXX|HACK)\b", ".py", ".lua", ".js", ".html", ".css", ".md", ".toml", ".yaml") == []
    )


def test_mypy_is_told_to_look_away_only_where_it_is_written_down() -> None:
    found: dict[str, int] = {}
    for path in files(".py"):
        if path != Path(__file__) and (times := len(re.findall(r"#\s*type:\s*ignore", text(path)))):
            found[name(path)] = times
    assert found == TYPE_IGNORES


def test_every_type_ignore_says_what_it_ignores() -> None:
    assert lines_with(r"#\s*type:\s*ignore(?!\[)", ".py") == []


def test_only_the_bus_knows_keys() -> None:
    knows = lines_with(r"""["'`]pl:""", ".py", ".lua", ".js")
    assert [place for place in knows if not place.startswith(KEYS_ARE_KNOWN_BY)] == []


def test_graph_s_host_is_a_setting() -> None:
    named = lines_with(r"graph\.facebook\.com", ".py", ".lua", ".js", ".html", ".toml", ".yaml", ".json")
    assert [place for place in named if not place.startswith(GRAPH_HOST)] == []


def test_no_test_sleeps_where_it_could_wait_for_what_happens() -> None:
    """A longer sleep says on its line what it is for."""
    bare = []
    for path in files(".py", under=("tests",)):
        lines = text(path).splitlines()
        for node in ast.walk(ast.parse(text(path))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="sleep") | ast.Name(id="sleep"), args=[ast.Constant(value=seconds)]
                ):
                    line = lines[node.lineno - 1]
                    if isinstance(seconds, int | float) and seconds >= LONGEST_SLEEP_S and "  # " not in line:
                        bare.append(f"{name(path)}:{node.lineno}")
    assert bare == []


def test_tests_use_the_real_parts() -> None:
    mocks = r"unittest\.mock|from unittest import mock|\bmocker\b|monkeypatch\.(setattr|delattr|setitem)|MagicMock"
    assert lines_with(mocks, ".py", under=("tests",)) == []


@pytest.mark.parametrize("package", PRODUCT)
def test_every_package_says_what_it_is(package: str) -> None:
    folders = {path.parent for path in files(".py", under=(package,))}
    silent = [name(folder) for folder in folders if not _docstring(folder / "__init__.py")]
    assert silent == []


@pytest.mark.parametrize("package", PRODUCT)
def test_every_module_says_what_it_is(package: str) -> None:
    assert [name(path) for path in files(".py", under=(package,)) if not _docstring(path)] == []


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(text(path))) if path.exists() else None


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """Folders of a user's, and temporary ones; a container's own are its own."""
    paths = lines_with(r"""(?<![\w.:/-])/(work|root|home|Users|tmp|mnt)/[\w.]""")
    assert [place for place in paths if not place.startswith("deploy/Dockerfile")] == []


def test_no_file_names_a_package_registry() -> None:
    hosts = r"pypi\.|pythonhosted|npmjs|index-url|artifactory|jfrog|proxy\.golang|ghcr\.io|devpi"
    assert lines_with(hosts) == []


def test_the_bus_loads_every_script_there_is() -> None:
    scripts = {path.stem for path in files(".lua", under=("shared",))}
    sources = (text(ROOT / "shared" / module) for module in STEPS_ARE_LOADED_BY)
    loaded = {script for source in sources for script in re.findall(r"""\b_?script\("(\w+)"\)""", source)}
    assert scripts == loaded | {"prelude", "desk"}  # what steps begin with
    assert all(text(path).startswith("-- ") for path in files(".lua"))


def test_nothing_unpickles() -> None:
    assert lines_with(r"\bpickle\b.*\bloads?\b|import pickle|import dill", ".py", under=PRODUCT) == []
