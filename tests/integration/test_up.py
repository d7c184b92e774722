"""`up` with real processes and real signals: what is started again, how it stops, and that nothing is left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pageline.up import Pauses
from shared import parent

GONE_WITHIN_S = 10.0
pytestmark = pytest.mark.timeout(60)

RUN = """
import json, sys
from pageline.up import run
spec = json.loads(sys.argv[1])
sys.exit(run(spec["processes"], spec["env"], stop_grace_s=spec["stop_grace_s"]))
"""

STEADY = "import os, signal; print('ready', os.getpid(), flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + STEADY
DRAINING = """
import os, pathlib, signal, sys, time
def drain(signal_number, frame):
    print("got", signal.Signals(signal_number).name, flush=True)
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
    print("drained", flush=True)
    sys.exit()
signal.signal(signal.SIGINT, drain)
signal.signal(signal.SIGTERM, drain)
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""


def python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", program, *map(str, arguments)]


def await_end(pid: int) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


class Up:
    """A running `up` whose output the test reads line by line."""

    def __init__(self, processes: dict[str, list[str]], stop_grace_s: float = 30.0, **env: str) -> None:
        spec = {"processes": processes, "env": env, "stop_grace_s": stop_grace_s}
        self.process = subprocess.Popen(
            python(RUN, json.dumps(spec)),
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            stderr=subprocess.PIPE,
            start_new_session=True,
            encoding="utf-8",
        )
        assert self.process.stderr is not None
        self.output = self.process.stderr
        self.read = ""
        self.rest = ""
        self.pids: set[int] = set()

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        for line in self.output:
            self.read += line
            if (found := re.search(pattern, line)) is not None:
                return found
        raise AssertionError(f"{pattern!r} was never said, but:\n{self.read}")

    def ready(self, *names: str) -> dict[str, int]:
        """Read on until these processes have said their pids, in whatever order."""
        pids: dict[str, int] = {}
        while set(names) - set(pids):
            said = self.read_until(r" (\S+) +\| ready (\d+)$")
            pids[said[1]] = int(said[2])
            self.pids.add(int(said[2]))
        return pids

    def end(self) -> int:
        """Wait for the end and return the status."""
        self.rest = self.output.read()
        return self.process.wait()


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(processes: dict[str, list[str]], stop_grace_s: float = 30.0, **env: str) -> Up:
        started.append(Up(processes, stop_grace_s, **env))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        each.output.close()
        for pid in each.pids:
            await_end(pid)


StartUp = Callable[..., Up]


def test_a_process_that_dies_is_started_again_and_the_others_live_on(up: StartUp) -> None:
    running = up({"mortal": python(STEADY), "steady": python(STEADY)})
    pids = running.ready("mortal", "steady")

    os.kill(pids["mortal"], signal.SIGKILL)

    running.read_until(r"up +\| mortal was ended by SIGKILL; starting it again in 0.5 s")
    assert running.ready("mortal")["mortal"] != pids["mortal"]
    assert psutil.Process(pids["steady"]).status() != psutil.STATUS_ZOMBIE


def test_a_process_that_keeps_dying_is_started_ever_more_slowly(up: StartUp) -> None:
    running = up({"fails": ["sh", "-c", "exit 7"]})
    for pause_s in ("0.5", "1", "2"):
        running.read_until(rf"fails ended with status 7; starting it again in {pause_s} s$")


def test_pauses_grow_to_ten_seconds_and_start_anew_after_a_healthy_life() -> None:
    pauses = Pauses()
    assert [pauses.after(lived_s=1.0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert [pauses.after(lived_s=30.0), pauses.after(lived_s=1.0)] == [0.5, 1]


@pytest.mark.parametrize("asked_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_drain_before_the_end_however_it_is_asked_for(
    up: StartUp, tmp_path: Path, asked_by: signal.Signals
) -> None:
    let_go = tmp_path / "let go"
    running = up({"web": python(STEADY), "media": python(DRAINING, let_go)})
    running.ready("media", "web")
    os.killpg(running.process.pid, asked_by)  # as a terminal does: to the whole group in the foreground
    running.read_until(r"media +\| got SIGTERM")
    assert running.process.poll() is None

    let_go.touch()

    running.read_until(r"media +\| drained")
    assert running.end() == 0
    assert "got SIGINT" not in running.rest


def test_who_does_not_end_in_time_is_killed(up: StartUp) -> None:
    running = up({"stubborn": python(STUBBORN)}, stop_grace_s=0.2)
    running.ready("stubborn")
    running.process.send_signal(signal.SIGTERM)
    running.read_until(r"up +\| 0.2 s have passed: killing stubborn")
    running.read_until(r"up +\| stubborn was ended by SIGKILL")
    assert running.end() == 0


def test_a_second_ctrl_c_kills_at_once_and_a_second_sigterm_does_not(up: StartUp) -> None:
    running = up({"stubborn": python(STUBBORN)}, stop_grace_s=3600)
    running.ready("stubborn")
    running.process.send_signal(signal.SIGTERM)
    running.read_until("asking all to end")
    running.process.send_signal(signal.SIGTERM)
    running.read_until("SIGTERM: still waiting")
    running.process.send_signal(signal.SIGINT)
    running.read_until("second Ctrl-C: killing stubborn")
    assert running.end() == 0


def test_a_ctrl_c_between_two_lives_is_heeded(up: StartUp) -> None:
    running = up({"fails": ["false"]})
    running.read_until("starting it again in 2 s")
    asked_at_s = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    assert time.monotonic() - asked_at_s < 1.5
    assert "ended with status" not in running.rest


def test_killing_up_takes_its_children_along_whatever_they_are(up: StartUp) -> None:
    running = up(
        {"ours": python(STUBBORN), "foreign": ["sh", "-c", "trap '' TERM INT HUP; echo ready $$; exec sleep 600"]}
    )
    pids = running.ready("ours", "foreign")

    running.process.kill()

    for pid in pids.values():
        await_end(pid)


def test_what_a_dead_process_has_started_does_not_outlive_it(up: StartUp) -> None:
    running = up({"parent": ["sh", "-c", "sleep 600 & echo ready $!; exit 1"]})
    orphan = running.ready("parent")["parent"]
    running.read_until("parent ended with status 1")
    await_end(orphan)


def test_settings_that_cannot_work_stop_everything_and_the_reason_is_said(up: StartUp) -> None:
    complain = (
        "import sys; print('META_APP_SECRET is not set. Find it under App settings.', file=sys.stderr); sys.exit(2)"
    )
    running = up({"media": python(STEADY), "web": python(complain)})
    media = running.ready("media")["media"]
    assert running.end() == 2
    assert re.search(r"up +\| web ended 3 times with status 2.* META_APP_SECRET is not set", running.rest)
    await_end(media)


def test_lines_come_with_time_and_name_as_they_are_said(up: StartUp) -> None:
    talk = """
import os, signal, sys
print("hello", os.environ["WHOM"])
print("to stderr", file=sys.stderr)
os.write(1, b"odd \\xff byte\\n")
print("ready", os.getpid())
print("no end of line", end="")
signal.pause()
"""
    running = up({"web": python(talk), "media.1": python(STEADY)}, WHOM="grüß Gott")
    pid = running.ready("web", "media.1")["web"]  # it has come without a flush, from a process that lives on
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0

    said = re.findall(r"^\d\d:\d\d:\d\d web     \| (.*)$", running.read + running.rest, re.MULTILINE)
    assert said == [
        "hello grüß Gott",
        "to stderr",
        "odd \N{REPLACEMENT CHARACTER} byte",
        f"ready {pid}",
        "no end of line",
    ]


def test_a_line_without_end_is_cut_and_not_kept(up: StartUp) -> None:
    running = up({"web": ["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo ready $$; exec sleep 600"]})
    running.ready("web")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    lines = re.findall("x+", running.read)
    assert sum(map(len, lines)) == 300_000
    assert len(lines) > 1


def test_output_that_nobody_reads_any_more_ends_nothing(up: StartUp, tmp_path: Path) -> None:
    said = tmp_path / "said"
    talk = f"""
import os, pathlib, signal
def speak(*_):
    print("hello")
    pathlib.Path({str(said)!r}).touch()
signal.signal(signal.SIGUSR1, speak)
print("ready", os.getpid())
while True:
    signal.pause()
"""
    running = up({"web": python(talk)})
    web = running.ready("web")["web"]
    running.output.close()
    deadline = time.monotonic() + GONE_WITHIN_S
    for _ in range(3):
        os.kill(web, signal.SIGUSR1)
        while not said.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        said.unlink()
    assert psutil.Process(web).is_running()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait() == 0


# -- shared.parent, on which all of this rests


def orphan_after(program: str) -> int:
    """Run a Python program as the child of a process that is then killed; return the program's pid."""
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    process = subprocess.Popen(python(middle), stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert psutil.Process(pid).ppid() == process.pid
    process.kill()
    process.wait()
    process.stdout.close()
    return pid


@pytest.mark.parametrize(
    "tie",
    [
        "parent.die_with_parent()",
        "parent.watch_from_aside(os.getpid(), os.getppid(), signal.SIGKILL)",  # as on macOS
    ],
)
def test_a_tied_process_dies_with_its_parent(tie: str) -> None:
    await_end(
        orphan_after(
            f"import os, signal; from shared import parent; {tie}; print(os.getpid(), flush=True); signal.pause()"
        )
    )


def test_the_watcher_of_a_process_ends_with_it() -> None:
    watched = "import os, signal; from shared import parent; parent.watch_from_aside(os.getpid(), os.getppid(), 9); "
    process = subprocess.Popen(python(watched + "print('ready', flush=True); signal.pause()"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (watcher,) = psutil.Process(process.pid).children()
    deadline = time.monotonic() + GONE_WITHIN_S
    while watcher.num_fds() > 0:
        assert time.monotonic() < deadline, "the watcher holds files of the process it watches"
        time.sleep(0.01)
    process.kill()
    process.communicate()
    await_end(watcher.pid)


def test_a_process_whose_parent_is_already_dead_does_not_start() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    command = parent.tied(["echo", "started"])
    command[command.index(str(os.getpid()))] = str(dead.pid)
    late = subprocess.run(command, capture_output=True, check=False)
    assert (late.returncode, late.stdout) == (-signal.SIGKILL, b"")


def test_a_command_that_does_not_exist_is_named() -> None:
    missing = subprocess.run(parent.tied(["no-such-command"]), capture_output=True, text=True, check=False)
    assert missing.returncode == 127
    assert missing.stderr == "no-such-command: cannot be started: No such file or directory\n"


def test_the_command_takes_the_place_of_the_launcher() -> None:
    process = subprocess.Popen(parent.tied(["sh", "-c", "echo $$"]), stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate()
    assert int(said) == process.pid
