"""Our processes as a storm meets them: several of each kind, killed and frozen one after the other, started again."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from pageline.bench.processes import Server, start

LOOK_EVERY_S: Final = 0.1
LEAVES_WITHIN_S: Final = 5.0
"""A worker that wakes to find its lease over ends by itself by then."""


class Kind(StrEnum):
    """A process of the Procfile."""

    WEB = "web"
    MEDIA = "media"
    ACTION = "action"


MEMBERS: Final = {Kind.WEB: 2, Kind.MEDIA: 3, Kind.ACTION: 2}
ROUND: Final = (Kind.MEDIA, Kind.ACTION, Kind.MEDIA, Kind.WEB)
"""Whom the storm strikes; each round in an order of its own."""
FROZEN: Final = 0.25
"""How many of the strikes at a media worker freeze it beyond its lease instead of killing it."""


class Strike(msgspec.Struct, frozen=True):
    """What was done to a process."""

    at_s: float
    process: str
    how: str
    """`killed`, or `frozen` for longer than its lease."""


class Fleet:
    """Keeps every process running: one that ends, by a strike or by itself, is started again."""

    def __init__(self, home: Path, env: Mapping[str, str], ports: list[int], planted: Mapping[Kind, str]) -> None:
        self._home = home
        self._env = env
        self._ports = ports
        self._planted = planted
        self._servers: dict[str, Server] = {}
        self._frozen: set[str] = set()
        self._began_s = time.monotonic()
        self.strikes: list[Strike] = []
        self.own_ends: list[str] = []
        """Processes that ended although nothing was done to them, with their exit status."""

    def start(self) -> None:
        """Start all of them and wait until calls are taken; from the main thread."""
        for kind, count in MEMBERS.items():
            for number in range(count):
                self._start(kind, number)
        for number, port in enumerate(self._ports):
            self._servers[_name(Kind.WEB, number)].await_answer(f"http://127.0.0.1:{port}/readyz", containing='"ready"')
        self._began_s = time.monotonic()

    def stop(self) -> None:
        """Ask all to end, at the same time, and wait."""
        for server in self._servers.values():
            server.signal(signal.SIGCONT)
            server.signal(signal.SIGTERM)
        for server in self._servers.values():
            server.stop()

    async def watch(self) -> None:
        """Start again whatever ends, until cancelled."""
        while True:
            for name, server in list(self._servers.items()):
                if server.ended is not None:
                    if name not in self._frozen:
                        self.own_ends.append(f"{name} with status {server.ended}")
                    self._restart(name)
            await asyncio.sleep(LOOK_EVERY_S)

    async def rage(self, every_s: float, lease_s: float, seed: int) -> None:
        """Strike a process every so many seconds, until cancelled."""
        dice = random.Random(f"strikes {seed}")
        thaws: set[asyncio.Task[None]] = set()
        try:
            while True:
                for kind in dice.sample(ROUND, len(ROUND)):
                    await asyncio.sleep(every_s)
                    name = _name(kind, dice.randrange(MEMBERS[kind]))
                    freeze = dice.random() < FROZEN
                    if name in self._frozen:
                        continue
                    if freeze and kind is Kind.MEDIA:
                        thaws.add(asyncio.create_task(self._freeze(name, lease_s + dice.uniform(1.0, 3.0))))
                    else:
                        self._note(name, "killed")
                        self._servers[name].kill()
                        self._restart(name)
        finally:
            await asyncio.gather(*thaws)

    async def _freeze(self, name: str, for_s: float) -> None:
        self._note(name, "frozen")
        self._frozen.add(name)
        server = self._servers[name]
        server.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            server.signal(signal.SIGCONT)
            asyncio.get_running_loop().call_later(LEAVES_WITHIN_S, self._frozen.discard, name)

    def _note(self, name: str, how: str) -> None:
        self.strikes.append(Strike(round(time.monotonic() - self._began_s, 1), name, how))

    def _restart(self, name: str) -> None:
        kind, _, number = name.partition("-")
        self._start(Kind(kind), int(number))

    def _start(self, kind: Kind, number: int) -> None:
        name = _name(kind, number)
        env = {**self._env, "PORT": str(self._ports[number])} if kind is Kind.WEB else self._env
        command = ["pageline", kind]
        if kind in self._planted:
            command = ["pageline.bench.storm.planted", self._planted[kind], kind]
        self._servers[name] = start(name, command, env, self._home)


def _name(kind: Kind, number: int) -> str:
    return f"{kind}-{number}"
