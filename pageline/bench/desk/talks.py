"""Consumers who call, and agents who take the calls, as a process that prints how late they hear each other, ms.

`python -m pageline.bench.desk.talks URL GRAPH_PORT REDIS_URL CALLS SECONDS`

Both ends are far ends of the media bench in one process, so that one clock times a sound that leaves one of them and
reaches the other.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from pageline.bench import graph
from pageline.bench.media.consumers import Consumers
from pageline.bench.media.datagrams import listen
from pageline.bench.media.delay import echo_delays_ms
from pageline.bench.media.exchange import Exchange
from pageline.bench.media.far_end import FarEnd
from pageline.bench.media.heard import came_back, was_sent
from pageline.bench.media.orders import Ring
from pageline.bench.media.secured import Identity
from pageline.bench.media.wheel import Wheel
from shared.desk.accounts import Accounts
from shared.wire import Wire

PASSWORD: Final = "nobody guesses this"  # noqa: S105 - of agents that live as long as the bench
CALLS_PER_S: Final = 5.0
SETTLES_S: Final = 2.0
PATIENCE_S: Final = 20.0


class Page:
    """An agent's page, and the agent's end of the talk."""

    def __init__(self, socket: ClientConnection, exchange: Exchange) -> None:
        self._socket = socket
        self._exchange = exchange
        self.far_end = exchange.new("agent")

    async def live(self, asked: dict[str, Any]) -> str:
        """Ask for a call, answer what is offered, and return the call's id once both can speak."""
        await self._socket.send(json.dumps(asked))
        async with asyncio.timeout(PATIENCE_S):
            while True:
                told = json.loads(await self._socket.recv())
                match told["type"]:
                    case "offer":
                        sdp = self._exchange.answer(self.far_end, told["sdp"])
                        await self._socket.send(json.dumps({"type": "answer", "leg": told["leg"], "sdp": sdp}))
                    case "call" if told["state"] == "live":
                        return str(told["call"])
                    case "error":
                        raise RuntimeError(told["message"])


async def talk(url: str, graph_port: int, redis_url: str, calls: int, seconds: float) -> dict[str, list[float]]:
    """Let so many talk for so long, twice, and return the delays by their way."""
    base = "http://{0.hostname}:{0.port}".format(urlsplit(url))
    bound = listen("127.0.0.1")
    wheel = Wheel(bound)
    exchange = Exchange(Identity(), bound.getsockname()[1], wheel)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: graph.GraphConnection(exchange), "127.0.0.1", graph_port)
    turning = asyncio.create_task(wheel.run())
    pages = [await opened(base, redis_url, exchange, number) for number in range(calls + 1)]
    *agents, supervisor = pages
    await Consumers(url, bound, exchange, wheel).ring(Ring(calls, CALLS_PER_S))
    taken = [await agent.live({"type": "take", "call": None}) for agent in agents]
    consumer_of = {each.call_id: each for each in exchange.calls}
    talks = [(consumer_of[call_id], agent.far_end) for call_id, agent in zip(taken, agents, strict=True)]
    heard = await listened(wheel, talks, seconds)
    await supervisor.live({"type": "listen", "call": taken[0]})
    mixed = await listened(wheel, talks[:1], seconds)
    turning.cancel()
    server.close()
    return {
        "consumer to agent": heard[0],
        "agent to consumer": heard[1],
        "consumer to agent, a supervisor listens": mixed[0],
        "agent to consumer, a supervisor listens": mixed[1],
    }


async def opened(base: str, redis_url: str, exchange: Exchange, number: int) -> Page:
    """Make an agent, or a supervisor, and open the desk."""
    name = f"agent{number}"
    async with Wire.from_url(redis_url) as wire:
        await Accounts(wire).add(name, PASSWORD, queues=("default",), supervisor=True)
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{base}/desk/login", data={"name": name, "password": PASSWORD})
    headers = {"cookie": reply.headers["set-cookie"].partition(";")[0], "origin": base}
    return Page(await connect(f"{base.replace('http', 'ws')}/desk/ws", additional_headers=headers), exchange)


async def listened(
    wheel: Wheel, talks: Iterable[tuple[FarEnd, FarEnd]], seconds: float
) -> tuple[list[float], list[float]]:
    """Return how late agents heard consumers, and how late consumers heard agents, ms."""
    await asyncio.sleep(SETTLES_S)
    talks = list(talks)
    ends = [end for both in talks for end in both]
    for end in ends:
        end.sent, wheel.kept[end.number] = [], []
    await asyncio.sleep(seconds)
    kept = {end.number: wheel.kept.pop(end.number) for end in ends}
    sent = {end.number: was_sent(end) for end in ends}
    for end in ends:
        end.sent = None
    ways: tuple[list[float], list[float]] = [], []
    for consumer, agent in talks:
        ways[0].extend(echo_delays_ms(sent[consumer.number], came_back(agent, kept[agent.number])))
        ways[1].extend(echo_delays_ms(sent[agent.number], came_back(consumer, kept[consumer.number])))
    return ways


if __name__ == "__main__":
    _, url_, graph_port_, redis_url_, calls_, seconds_ = sys.argv
    told_ = uvloop.run(talk(url_, int(graph_port_), redis_url_, int(calls_), float(seconds_)))
    sys.stdout.buffer.write(msgspec.json.encode(told_) + b"\n")
