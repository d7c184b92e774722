"""A primary, its replicas and three Sentinels: real servers of the wheel, on loopback, to be killed and frozen."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis

from shared.embedded import answers, find_server, free_port
from tests.acceptance.standin import until

NAME: Final = "line"
PASSWORD: Final = "between-servers"
SENTINEL_PASSWORD: Final = "between-sentinels"
DOWN_AFTER_MS: Final = 500
SENTINELS: Final = 3

_SERVER: Final = """\
bind 127.0.0.1
port {port}
requirepass {password}
masterauth {password}
appendonly yes
save ""
repl-diskless-sync-delay 0
{follows}
"""
_SENTINEL: Final = """\
bind 127.0.0.1
port {port}
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} {down_after_ms}
sentinel failover-timeout {name} 5000
"""


class Replicated:
    """The servers; each has a folder of its own, and is killed in the end."""

    def __init__(self, home: Path, *, replicas: int, sentinels: int = SENTINELS) -> None:
        self._home = home
        self._replicas = replicas
        self._sentinels = sentinels
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self.sentinel_ports: list[int] = []
        self.ports: list[int] = []
        """Of the data servers; the first was the primary at the start."""

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._raze()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raze()

    @property
    def url(self) -> str:
        """What REDIS_URL is."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{NAME}?sentinel_password={SENTINEL_PASSWORD}"

    def url_of(self, port: int) -> str:
        """Return the address of one server."""
        return f"redis://:{PASSWORD}@127.0.0.1:{port}/0"

    def client(self, port: int) -> redis.Redis:
        """Return a witness at one server."""
        return redis.Redis.from_url(self.url_of(port))

    @property
    def primary(self) -> int:
        """The port of the primary, as one Sentinel has it."""
        return self._named_by(self.sentinel_ports[0])

    def kill(self, port: int) -> None:
        """Kill a server outright."""
        self._servers[port].kill()
        self._servers[port].wait()

    def start(self, port: int, *, follows: int | None = None) -> None:
        """Start a data server on what its folder holds."""
        lines = "" if follows is None else f"replicaof 127.0.0.1 {follows}"
        self._run(port, _SERVER.format(port=port, password=PASSWORD, follows=lines))
        until(lambda: answers(self.url_of(port)), f"the server on port {port}")

    @contextlib.contextmanager
    def frozen(self, *ports: int) -> Iterator[None]:
        """Let servers stand still."""
        for port in ports:
            os.kill(self._servers[port].pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for port in ports:
                if self._servers[port].poll() is None:
                    os.kill(self._servers[port].pid, signal.SIGCONT)

    def await_replicas(self, port: int, count: int) -> None:
        """Wait until a primary has so many replicas that are up to date."""
        with self.client(port) as primary:
            primary.set("told", "")
            until(lambda: primary.wait(count, 100) >= count, f"{count} replicas of the server on port {port}")

    @contextlib.contextmanager
    def misled(self, replica: int) -> Iterator[str]:
        """Let one Sentinel take a replica for the primary of another name; yield that name."""
        with redis.Redis(port=self.sentinel_ports[0], password=SENTINEL_PASSWORD) as told:
            told.execute_command("SENTINEL", "MONITOR", "misled", "127.0.0.1", replica, 2)
            yield "misled"
            told.execute_command("SENTINEL", "REMOVE", "misled")

    def mend(self) -> None:
        """Start what was killed, and wait until Sentinel has made replicas of all but the primary."""
        for port in self.ports:
            if self._servers[port].poll() is not None:
                self.start(port, follows=self.primary)
        until(self._is_whole, "a primary with all its replicas", timeout_s=30)

    def _is_whole(self) -> bool:
        named = {self._named_by(port) for port in self.sentinel_ports}
        if len(named) != 1:
            return False
        with self.client(*named) as asked:
            replication = asked.info("replication")
        return bool(replication["role"] == "master" and replication["connected_slaves"] == self._replicas)

    def _named_by(self, sentinel: int) -> int:
        with redis.Redis(port=sentinel, password=SENTINEL_PASSWORD) as asked:
            return int(asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def _build(self) -> None:
        self.ports = [free_port() for _ in range(1 + self._replicas)]
        first, *others = self.ports
        self.start(first)
        for port in others:
            self.start(port, follows=first)
        self.await_replicas(first, len(others))
        for _ in range(self._sentinels):
            port = free_port()
            text = _SENTINEL.format(
                port=port,
                name=NAME,
                primary=first,
                password=PASSWORD,
                sentinel_password=SENTINEL_PASSWORD,
                down_after_ms=DOWN_AFTER_MS,
            )
            self._run(port, text, "--sentinel")
            self.sentinel_ports.append(port)
        until(lambda: all(map(self._has_met_all, self.sentinel_ports)), "the Sentinels' knowing each other")

    def _has_met_all(self, sentinel: int) -> bool:
        try:
            with redis.Redis(port=sentinel, password=SENTINEL_PASSWORD) as asked:
                met = asked.sentinel_master(NAME)
        except redis.RedisError:
            return False
        return met["num-other-sentinels"] == self._sentinels - 1 and met["num-slaves"] == self._replicas

    def _run(self, port: int, config: str, *arguments: str) -> None:
        folder = self._home / str(port)
        folder.mkdir(exist_ok=True)
        (folder / "valkey.conf").write_text(config)
        with (folder / "log").open("ab") as log:
            argv = [str(find_server()), "valkey.conf", *arguments]
            self._servers[port] = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)

    def _raze(self) -> None:
        for server in self._servers.values():
            server.kill()
            server.wait()
