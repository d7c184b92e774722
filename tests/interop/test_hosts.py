"""Two hosts of ours and a third with Redis and Meta, in network namespaces: one is cut off in the middle of calls."""

import ctypes
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest

from shared.calls import facts
from shared.embedded import find_server
from tests.acceptance.line import PROCFILE, Line, Process, readiness
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import PAGE, until
from tests.acceptance.test_handlers import Caller

HUB, ONE, OTHER = (f"pageline-{os.getpid()}-{name}" for name in ("hub", "one", "other"))
ADDRESSES: Final = {HUB: "10.77.0.1", ONE: "10.77.0.11", OTHER: "10.77.0.12"}
PORTS: Final = {"redis": 6379, "graph": 9900, "web": 8000}
CLONE_NEWNET: Final = 0x40000000

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's to make"),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def enter(path: str) -> None:
    """Let this thread, and what it starts from now on, be in a network namespace."""
    with Path(path).open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"could not enter {path}")


@pytest.fixture
def network() -> Iterator[None]:
    """Three hosts on one switch, which is in the hub; the test is there, too."""
    with ExitStack() as undo:
        for host in ADDRESSES:
            ip("netns", "add", host)
            undo.callback(ip, "netns", "del", host)
            ip("-n", host, "link", "set", "lo", "up")
        ip("-n", HUB, "link", "add", "switch", "type", "bridge")
        ip("-n", HUB, "address", "add", f"{ADDRESSES[HUB]}/24", "dev", "switch")
        ip("-n", HUB, "link", "set", "switch", "up")
        for host in (ONE, OTHER):
            port = port_of(host)
            ip("-n", HUB, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("-n", HUB, "link", "set", port, "master", "switch", "up")
            ip("-n", host, "address", "add", f"{ADDRESSES[host]}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
        undo.callback(enter, f"/proc/{os.getppid()}/ns/net")
        enter(f"/run/netns/{HUB}")
        yield


def port_of(host: str) -> str:
    return f"to-{host.rpartition('-')[2]}"


class Elsewhere(NamedTuple):
    """A Valkey on another host."""

    url: str


class Hosts(Line):
    """A pipeline whose processes are on two hosts."""

    def __init__(self, home: Path, meta: SimulatedMeta) -> None:
        super().__init__(home, meta)
        self.base = f"http://{ADDRESSES[ONE]}:{PORTS['web']}"
        meta.webhook_url = f"{self.base}/webhook"
        self.valkey = Elsewhere(f"redis://{ADDRESSES[HUB]}:{PORTS['redis']}/0")
        self.settings |= {"REDIS_URL": self.valkey.url, "PORT": str(PORTS["web"])}

    def serve_redis(self) -> None:
        command = [str(find_server()), "--bind", ADDRESSES[HUB], "--port", str(PORTS["redis"])]
        command += ["--protected-mode", "no", "--save", "", "--dir", str(self.home)]
        self.processes["redis"] = Process(command, home=self.home, env={}, name="redis")

    def start_on(self, host: str, name: str) -> Process:
        settings = self.settings | {"HOST": ADDRESSES[host], "MEDIA_ADDRESSES": ADDRESSES[host]}
        command = ["ip", "netns", "exec", host, *shlex.split(PROCFILE[name.partition(".")[0]])]
        started = self.processes[name] = Process(command, home=self.home, env=settings, name=name)
        return started

    def workers(self) -> int:
        try:
            return int(httpx.get(f"{self.base}/readyz", timeout=2).json()["media_workers"])
        except (httpx.HTTPError, KeyError):
            return 0

    def owner_of(self, caller: Caller) -> str:
        self.await_fact(caller, facts.LegConnected)
        return [fact for fact in self.log_of(caller.call_id) if isinstance(fact, facts.Claimed)][-1].worker


def name_of(media: Process) -> str:
    told: list[dict[str, Any]] = [json.loads(line) for line in media.said.splitlines() if line.startswith("{")]
    return str(next(line["worker"] for line in told if line["event"] == "worker.joined"))


@pytest.fixture
def hosts(network: None, tmp_path: Path) -> Iterator[Hosts]:
    meta = SimulatedMeta()
    meta.url = f"http://{ADDRESSES[HUB]}:{PORTS['graph']}"
    meta._http = httpx.Client(base_url=meta.url, timeout=30)
    hosts = Hosts(tmp_path, meta)
    try:
        hosts.serve_redis()
        here = ADDRESSES[HUB]
        hosts.processes["sim"] = meta.start(tmp_path, "--host", here, "--media-address", here)
        for host, name in ((ONE, "web"), (ONE, "media.1"), (ONE, "action.1"), (OTHER, "media.2"), (OTHER, "action.2")):
            hosts.start_on(host, name)
        until(lambda: hosts.workers() == 2, "both media workers", timeout_s=60)
        assert readiness(hosts.base) == "ready"
        yield hosts
    finally:
        for process in hosts.processes.values():
            if not process.ended:
                process._process.kill()
                process.wait()


def test_a_host_that_is_cut_off_costs_its_own_calls_and_nothing_else(hosts: Hosts) -> None:
    simulated = hosts.meta
    assert isinstance(simulated, SimulatedMeta)
    names = {"media.1": name_of(hosts.processes["media.1"]), "media.2": name_of(hosts.processes["media.2"])}
    callers = [Caller(simulated, PAGE, f"80{number}", tone_hz=620) for number in range(4)]
    owners = [hosts.owner_of(caller) for caller in callers]
    assert sorted(owners) == sorted([*names.values()] * 2), "both hosts hold as many"
    theirs = [caller for caller, owner in zip(callers, owners, strict=True) if owner == names["media.2"]]
    ours = [caller for caller in callers if caller not in theirs]

    ip("-n", HUB, "link", "set", port_of(OTHER), "down")
    assert [hosts.outcome_of(caller) for caller in theirs] == ["lost", "lost"]
    assert [simulated.wait(caller.call_id)["state"] for caller in theirs] == ["ended", "ended"]
    until(lambda: hosts.workers() == 1, "one media worker")

    def heard_s(caller: Caller) -> float:
        return float(simulated.view(caller.call_id)["heard"]["seconds"])

    before = [heard_s(caller) for caller in ours]
    until(lambda: all(heard_s(c) > b + 2 for c, b in zip(ours, before, strict=True)), "that the others still hear")
    late = Caller(simulated, PAGE, "8010", tone_hz=620)
    assert hosts.owner_of(late) == names["media.1"]

    ip("-n", HUB, "link", "set", port_of(OTHER), "up")
    until(lambda: hosts.processes["media.2"].ended, "the worker that lost its lease ends", timeout_s=30)
    hosts.start_on(OTHER, "media.3")  # as a platform would
    until(lambda: hosts.workers() == 2, "both hosts again", timeout_s=30)
    back = Caller(simulated, PAGE, "8011", tone_hz=620)
    assert hosts.owner_of(back) == name_of(hosts.processes["media.3"]), "it has the most room"
    for caller in (*ours, late, back):
        caller.hang_up()
        assert hosts.outcome_of(caller) == "completed"
    heard = simulated.wait(back.call_id)["heard"]
    assert heard["dominant_hz"] == pytest.approx(620, abs=5), "its own voice, from the other host"
