"""Calls through coturn, the TURN server most people run: over udp, tcp and tls, on loopback."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from aioice.ice import StunProtocol
from aioice.stun import Message
from structlog.testing import capture_logs

from tests.integration.roaming import Roamer, candidates_in, roaming_call, udp_ports
from tests.integration.test_ice import assert_both_hear
from tests.integration.test_leg import LOOPBACK, OURS, THEIRS_HZ, free_ports, open_files, ticks, until
from tests.interop.coturn import RELAYED, Coturn, coturn
from workers.media.leg import Leg, LegFailed
from workers.media.turn import Relays

pytestmark = pytest.mark.interop

HOWS = ("udp", "tcp", "tls")
CERTIFICATE_REFUSED = r"turns:127\.0\.0\.1:\d+\S*: its certificate was refused \(self-signed certificate\)"


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """A coturn for all tests here."""
    with coturn(tmp_path_factory.mktemp("coturn")) as server:
        yield server


def relays(turn: Coturn, *hows: str, only: bool = True) -> Relays:
    return Relays([turn.server(how) for how in hows], only=only, tls=ssl.create_default_context(cafile=turn.cert))


def way(leg: Leg) -> str:
    """Return the type of our candidate in use."""
    return str(leg._peer.path._current._nominated[1].local_candidate.type)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_both_hear_each_other_through_the_relay_and_after_a_restart(
    run: Callable[[Coroutine[Any, Any, None]], None], how: str, turn: Coturn
) -> None:
    async def scenario() -> None:
        async with roaming_call(Roamer(hz=THEIRS_HZ), relays=relays(turn, how)) as (leg, far):
            assert [candidate.type for candidate in leg._peer.path.local_candidates] == ["relay"]
            await assert_both_hear(leg, far)
            answer = await far.restart(leg)
            assert [candidate.port in RELAYED for candidate in candidates_in(answer)] == [True]
            await far.leave_old_network()
            await assert_both_hear(leg, far)
            assert way(leg) == "relay"

    run(scenario())


@pytest.mark.parametrize("how", HOWS)
async def test_no_packet_is_lost_on_the_way_through(how: str, turn: Coturn) -> None:
    async with roaming_call(relays=relays(turn, how)) as (leg, far):
        notes = far.take_notes(111)
        before = await far.datagrams()
        async for tick in ticks(50):
            if tick == 25:  # four minutes later, as it were
                client = leg._peer.path._current._nominated[1].protocol._client
                [channel] = client.channel_to_peer
                client.channel_refresh_at[channel] = 0
            assert leg.send_packet(OURS[tick])
            await far.send(OURS[tick], tick)
        await until(lambda: leg.figures().packets_received == 50)
        assert leg.figures().packets_lost == 0
        assert notes.payload_types == {111}
        assert await far.datagrams() - before >= 50
        await leg._peer.path._current._nominated[1].protocol._refreshing


async def test_the_direct_way_is_preferred_and_the_relay_is_there_where_it_is_blocked(turn: Coturn) -> None:
    class Blocked(Roamer):
        """A peer no direct packet comes through to."""

        def __init__(self) -> None:
            super().__init__(hz=THEIRS_HZ)
            take = self.ice.request_received

            def take_relayed(message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
                if addr[1] in RELAYED:
                    take(message, addr, protocol)

            self.ice.request_received = take_relayed

    async with roaming_call(relays=relays(turn, "udp", only=False)) as (leg, _):
        assert way(leg) == "host"
    async with roaming_call(Blocked(), relays=relays(turn, "udp", only=False)) as (leg, far):
        assert way(leg) == "relay"
        await assert_both_hear(leg, far)


async def test_servers_are_asked_together_and_offered_in_their_order(turn: Coturn) -> None:
    leg = Leg(addresses=LOOPBACK, relays=relays(turn, "tls", "udp", "tcp", only=False))
    candidates = candidates_in(await leg.offer())
    assert [candidate.type for candidate in candidates].count("relay") == 3
    endpoints = leg._peer.path._current._protocols[1:]
    ranked = sorted(endpoints, key=lambda endpoint: -endpoint.local_candidate.priority)
    assert [endpoint._client.server[1] for endpoint in ranked] == [turn.tls_port, turn.port, turn.port]
    await leg.close()


async def test_a_certificate_nobody_vouches_for_is_named_and_the_call_goes_on(turn: Coturn) -> None:
    untrusting = Relays([turn.server("tls")])
    with capture_logs() as logs:
        for _ in range(2):
            async with roaming_call(Roamer(hz=THEIRS_HZ), relays=untrusting) as (leg, far):
                assert way(leg) == "host"
                await assert_both_hear(leg, far)
    [told] = [entry for entry in logs if entry["event"] == "relay.refused"]
    assert told["log_level"] == "error"
    assert "SSL_CERT_FILE" in told["reason"]


async def test_without_any_other_way_the_refused_certificate_is_why_there_is_no_offer(turn: Coturn) -> None:
    files = open_files()
    leg = Leg(addresses=LOOPBACK, relays=Relays([turn.server("tls")], only=True))
    with pytest.raises(LegFailed, match=CERTIFICATE_REFUSED):
        await leg.offer()
    await leg.close()
    await until(lambda: open_files() <= files)


async def test_an_authority_in_ssl_cert_file_is_trusted(turn: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(turn.cert))
    leg = Leg(addresses=LOOPBACK, relays=Relays([turn.server("tls")], only=True))
    assert [candidate.type for candidate in candidates_in(await leg.offer())] == ["relay"]
    await leg.close()


@pytest.mark.parametrize("how", HOWS)
async def test_refused_credentials_are_named(how: str, turn: Coturn) -> None:
    files = open_files()
    server = turn.server(how, password="wrong")
    leg = Leg(addresses=LOOPBACK, relays=Relays([server], only=True, tls=ssl.create_default_context(cafile=turn.cert)))
    with pytest.raises(LegFailed, match=r"it refused the credentials\. Check ICE_USERNAME and ICE_PASSWORD"):
        await leg.offer()
    await leg.close()
    await until(lambda: open_files() <= files)


async def test_our_side_of_a_relay_is_within_the_port_range_and_nothing_else_is_bound(turn: Coturn) -> None:
    low, high = free_ports(2)
    before = udp_ports()
    leg = Leg(addresses=LOOPBACK, ports=(low, high), relays=relays(turn, "udp", "tcp", only=False))
    offer = await leg.offer()
    assert [candidate.type for candidate in candidates_in(offer)].count("relay") == 2
    assert udp_ports() - before == {low, high}
    await leg.close()


@pytest.mark.parametrize("ending", ["close", "mute"])
@pytest.mark.parametrize("how", HOWS)
async def test_nothing_is_left_of_a_relayed_leg(how: str, ending: str, turn: Coturn) -> None:
    tasks, files = asyncio.all_tasks(), open_files()
    async with roaming_call(relays=relays(turn, how)) as (leg, _):
        if ending == "mute":
            leg.mute_forever()
            assert not leg._peer.path.send_now(b"whatever")
    await until(lambda: not asyncio.all_tasks() - tasks and open_files() <= files)


@pytest.mark.parametrize("how", HOWS)
async def test_a_server_that_dies_ends_the_call_and_the_leg_closes_in_time(
    how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with coturn(tmp_path_factory.mktemp("short")) as server:
        async with roaming_call(relays=relays(server, how), silence_limit_s=1.0) as (leg, _):
            ended: asyncio.Queue[str] = asyncio.Queue()
            leg.on_ended = ended.put_nowait
            server.process.kill()
            async with asyncio.timeout(4):
                assert await ended.get() in {"nothing was heard of the peer for 1 s", "the peer closed"}
