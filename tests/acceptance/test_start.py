"""What a process says when it cannot start: one line that names the cause, and exit status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETE = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "META_APP_SECRET": "s3cret",
    "META_VERIFY_TOKEN": "v3rify",
    "PAGE_TOKENS": "106378625516323=x",
    "PORT": "0",
    "DASHBOARD_PORT": "0",
}
PAGELINE = str(Path(sys.executable).with_name("pageline"))
BAD_USAGE = 2


def refusal(process: str, home: Path, *, without: str = "", **settings: str) -> str:
    """Start a process that cannot run, and return the one line it says."""
    env = {name: value for name, value in {**COMPLETE, **settings}.items() if name != without}
    ended = subprocess.run(
        [PAGELINE, process],
        cwd=home,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    assert ended.returncode == BAD_USAGE, ended.stderr
    assert not ended.stdout
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("process", "setting"),
    [
        ("web", "META_APP_SECRET"),
        ("web", "META_VERIFY_TOKEN"),
        ("web", "REDIS_URL"),
        ("media", "REDIS_URL"),
        ("action", "REDIS_URL"),
        ("action", "PAGE_TOKENS"),
        ("up", "META_APP_SECRET"),
        ("up", "META_VERIFY_TOKEN"),
        ("up", "PAGE_TOKENS"),
    ],
)
def test_a_missing_setting_is_named_in_one_line(tmp_path: Path, process: str, setting: str) -> None:
    line = refusal(process, tmp_path, without=setting)
    assert line.startswith(f"pageline: {setting} ")
    assert "is not set. " in line


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        ("nosuch:answer", "there is no module nosuch"),
        ("broken:answer", "importing broken failed: SyntaxError"),
        ("needy:answer", "importing needy failed: No module named 'nosuch_library'"),
        ("plain:nosuch", "has no function nosuch"),
        ("plain:answer", "write `async def`"),
        ("plain", "module:function"),
    ],
)
def test_a_handler_that_cannot_be_used_is_an_error_at_start(tmp_path: Path, handler: str, complaint: str) -> None:
    (tmp_path / "broken.py").write_text("async def answer(call) await\n")
    (tmp_path / "needy.py").write_text("import nosuch_library\n")
    (tmp_path / "plain.py").write_text("def answer(call): ...\n")
    line = refusal("media", tmp_path, CALL_HANDLER=handler)
    assert f"CALL_HANDLER={handler}" in line
    assert complaint in line


@pytest.mark.parametrize("name", ["shared/__init__.py", "shared/notes.txt", "workers.py", "pageline/__init__.py"])
def test_what_is_named_like_one_of_our_packages_is_an_error_at_start(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("")
    (tmp_path / "reception.py").write_text("async def answer(call): ...\n")
    line = refusal("media", tmp_path, CALL_HANDLER="reception:answer")
    assert str(tmp_path / name.partition("/")[0]) in line
    assert "Rename it." in line


def test_up_gives_up_with_the_reason_of_the_process_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "__init__.py").write_text("")
    env = {"PATH": os.environ["PATH"], **COMPLETE, "HOST": "127.0.0.1", "DATA_DIR": str(tmp_path / "data")}
    del env["REDIS_URL"]
    ended = subprocess.run(
        [PAGELINE, "up"], cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", check=False, timeout=30
    )
    assert ended.returncode == BAD_USAGE, ended.stderr
    (reason,) = [line for line in ended.stderr.splitlines() if "Its reason: " in line]
    assert f"{tmp_path / 'shared'} has the name of one of pageline's own packages" in reason
