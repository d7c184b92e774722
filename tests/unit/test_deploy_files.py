"""The files of deploy/: they start what there is, name settings that exist, and leave a drain the time it takes."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from shared.settings import Settings

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
UNIT: Final = DEPLOY / "systemd" / "pageline@.service"
PROCESSES: Final = {"web", "media", "action", "dashboard"}
LAST_WORDS_S: Final = 5
"""What a drain takes beyond DRAIN_SECONDS (docs/settings.md)."""
THE_PLATFORMS: Final = {"PYTHON_VERSION", "PYTHONUNBUFFERED"}


def of_yaml(name: str) -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load(DEPLOY / name)
    return read


def of_unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    return unit


def said(file: Path, pattern: str) -> float:
    """What a file tells people to set."""
    found = re.search(pattern, file.read_text())
    assert found, f"{file.name} no longer says {pattern}"
    return float(found[1])


def drains() -> Iterator[tuple[str, float, float]]:
    """Each place where a process is stopped: its name, DRAIN_SECONDS, and when it is killed."""
    yield "heroku", float(json.loads((DEPLOY / "app.json").read_text())["env"]["DRAIN_SECONDS"]["value"]), 30
    for service in of_yaml("render.yaml")["services"]:
        if "maxShutdownDelaySeconds" in service:
            drain = next(one["value"] for one in service["envVars"] if one.get("key") == "DRAIN_SECONDS")
            yield service["name"], float(drain), service["maxShutdownDelaySeconds"]
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    yield "fly", float(fly["env"]["DRAIN_SECONDS"]), float(fly["kill_timeout"].removesuffix("s"))
    for name, service in of_yaml("compose.yaml")["services"].items():
        if "DRAIN_SECONDS" in service.get("environment", {}):
            grace_s = 60 * float(service["stop_grace_period"].removesuffix("m"))
            yield name, float(service["environment"]["DRAIN_SECONDS"]), grace_s
    yield "systemd", said(UNIT, r"DRAIN_SECONDS=(\d+)"), float(of_unit()["Service"]["TimeoutStopSec"])
    by_hand_s = said(DEPLOY / "README.md", r"\| Railway \|.*\| (\d+), set as a variable")
    for name in ("media", "action"):
        kept_s = json.loads((DEPLOY / "railway" / f"{name}.json").read_text())["deploy"]["drainingSeconds"]
        yield name, by_hand_s, kept_s


@pytest.mark.parametrize(("where", "drain_s", "killed_after_s"), list(drains()))
def test_a_drain_is_over_before_the_platform_kills(where: str, drain_s: float, killed_after_s: float) -> None:
    assert drain_s + LAST_WORDS_S <= killed_after_s, where


def test_both_that_drain_are_given_the_time_everywhere() -> None:
    names = [name for name, _, _ in drains()]
    assert names.count("media") == names.count("action") == 2, "compose and Railway"
    assert {"pageline-media", "pageline-action"} <= set(names)


def commands() -> Iterator[tuple[str, str]]:
    for name in ("heroku.Procfile", "../Procfile"):
        for line in (DEPLOY / name).read_text().splitlines():
            process, _, command = line.partition(":")
            yield process, command.rpartition("pageline ")[2]
    for service in of_yaml("render.yaml")["services"]:
        if "startCommand" in service:
            yield service["name"].removeprefix("pageline-"), service["startCommand"].removeprefix("pageline ")
    yield from tomllib.loads((DEPLOY / "fly.toml").read_text())["processes"].items()
    for file in (DEPLOY / "railway").iterdir():
        yield file.stem, json.loads(file.read_text())["deploy"]["startCommand"].removeprefix("pageline ")
    for name, service in of_yaml("compose.yaml")["services"].items():
        if "build" in service:
            yield name, service["command"]


@pytest.mark.parametrize(("process", "command"), list(commands()))
def test_each_process_is_started_by_its_own_name(process: str, command: str) -> None:
    assert process == command
    assert command in PROCESSES


def settings_named() -> Iterator[tuple[str, str]]:
    def flat(where: str, names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from ((where, name) for name in names)

    yield from flat("app.json", json.loads((DEPLOY / "app.json").read_text())["env"])
    render = of_yaml("render.yaml")
    for holder in (*render["services"], *render["envVarGroups"]):
        yield from flat("render.yaml", {one["key"]: 0 for one in holder.get("envVars", []) if "key" in one})
    yield from flat("fly.toml", tomllib.loads((DEPLOY / "fly.toml").read_text())["env"])
    for service in of_yaml("compose.yaml")["services"].values():
        yield from flat("compose.yaml", service.get("environment", {}))
    yield from flat("systemd", dict(one.split("=") for one in of_unit()["Service"]["Environment"].split()))
    yield from flat(
        "heroku.Procfile", dict.fromkeys(re.findall(r"([A-Z_]+)=", (DEPLOY / "heroku.Procfile").read_text()))
    )


@pytest.mark.parametrize(("where", "name"), sorted(set(settings_named())))
def test_every_setting_that_is_named_exists(where: str, name: str) -> None:
    assert name.lower() in Settings.__struct_fields__ or name in THE_PLATFORMS, where


def test_compose_takes_its_file() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_linter_of_dockerfiles_finds_nothing_in_ours() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_image_is_built_from_what_is_sent_and_nothing_else_is_sent() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sent = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(sent) == sorted(name for line in copied for name in line.split())


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    unit = UNIT.read_text()
    program = shutil.which("true")
    (tmp_path / "pageline@web.service").write_text(re.sub(r"ExecStart=\S+", f"ExecStart={program}", unit))
    (tmp_path / "pageline.target").write_text((DEPLOY / "systemd" / "pageline.target").read_text())
    checked = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", tmp_path / "pageline@web.service"],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )
    ours = [line for line in checked.stderr.splitlines() if "pageline" in line]
    assert not ours, checked.stderr
