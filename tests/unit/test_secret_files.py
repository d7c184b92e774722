"""Secrets that are handed over as files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import BadSetting
from shared.secret_files import SECRETS, bring
from shared.settings import Settings

OF_HANDLERS = {"VOICEMAIL_WEBHOOK_SECRET", "VOICE_AI_KEY"}


def test_what_a_file_holds_is_the_setting_and_its_name_is_gone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret,older\n")
    environ = {"META_APP_SECRET_FILE": str(tmp_path / "secret"), "PORT": "80", "PAGES_FILE": "pages.toml"}
    bring(environ)
    assert environ == {"META_APP_SECRET": "s3cret,older", "PORT": "80", "PAGES_FILE": "pages.toml"}
    bring(environ)
    assert environ["META_APP_SECRET"] == "s3cret,older"


def test_a_setting_that_is_given_twice_or_not_at_all_is_refused_without_its_value(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, value, why in (
        ("empty", "", "is empty"),
        ("bytes", "", "it holds no text"),
        ("nowhere", "", "cannot be read: No such file"),
        ("empty", "s3cret", "are both set"),
    ):
        with pytest.raises(BadSetting, match=why) as refusal:
            bring({"META_APP_SECRET_FILE": str(tmp_path / name), "META_APP_SECRET": value})
        assert "META_APP_SECRET" in str(refusal.value)
        assert "s3cret" not in str(refusal.value)


def test_an_empty_variable_counts_as_unset() -> None:
    environ = {"REDIS_URL_FILE": "", "REDIS_URL": "redis://one"}
    bring(environ)
    assert environ["REDIS_URL"] == "redis://one"


def test_each_is_a_setting_that_there_is() -> None:
    assert set(SECRETS) - {field.upper() for field in Settings.__struct_fields__} == OF_HANDLERS


def test_every_command_reads_them(tmp_path: Path) -> None:
    environ = {**os.environ, "REDIS_URL_FILE": str(tmp_path / "nowhere")}
    command = [sys.executable, "-m", "pageline", "calls"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, "REDIS_URL_FILE=" in ran.stderr) == (2, True)
