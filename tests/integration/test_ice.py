"""ICE under a live call: restarts, IPv6, ports, and what is left of it all; stock aiortc and aioice at the far side."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import psutil
import pytest
import uvloop
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from structlog.testing import capture_logs

from shared.ice_servers import IceServer, read_servers
from tests.integration.roaming import Roamer, candidates_in, roaming_call, udp_ports
from tests.integration.test_leg import (
    LOOPBACK,
    OURS,
    OURS_HZ,
    THEIRS_HZ,
    converse,
    dominant_hz,
    free_ports,
    open_files,
    ticks,
    until,
)
from workers.media.leg import NEGOTIATION_TIMEOUT_S, Leg, LegFailed
from workers.media.sdp_gate import audio_terms
from workers.media.turn import ALLOCATION_TIMEOUT_S, Relays

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


async def assert_both_hear(leg: Leg, far: Roamer) -> None:
    """Tell the voices apart; on a busy machine, gaps smear a tone a little and stock aiortc drops half a second."""
    for _ in range(3):
        far.heard.clear()
        heard = await converse(leg)
        if sum(map(len, far.heard)) >= 24_000:
            break
    assert abs(dominant_hz(heard[-48_000:]) - THEIRS_HZ) <= 20
    assert abs(dominant_hz(far.sound()[-24_000:]) - OURS_HZ) <= 20


# --- restart ---


@pytest.mark.parametrize(("run", "fast"), [(uvloop.run, True), (asyncio.run, False)], ids=["fast", "aiortcs-way"])
def test_both_hear_each_other_after_each_of_two_restarts_and_the_old_sockets_are_closed(run: Run, fast: bool) -> None:
    async def scenario() -> None:
        async with roaming_call(Roamer(hz=THEIRS_HZ), fast=fast) as (leg, far):
            for _ in range(2):
                before = leg._peer.path.local_candidates[0].port
                answer = await far.restart(leg)
                [candidate] = candidates_in(answer)
                assert candidate.port != before
                await until(lambda port=candidate.port: leg._peer.path._current.local_candidates[0].port == port)
                assert (leg._peer.path._current.tap is not None) is fast
                await far.leave_old_network()
                await assert_both_hear(leg, far)
                await until(lambda port=before: port not in udp_ports())
            assert far.pc.connectionState == "connected"
            assert leg.live

    run(scenario())


async def test_no_packet_is_lost_while_the_path_changes() -> None:
    async with roaming_call() as (leg, far):
        restarting: asyncio.Task[str] | None = None
        before = await far.datagrams()
        async for tick in ticks(80):
            if tick == 20:
                restarting = asyncio.create_task(far.restart(leg))
            leg.send_packet(OURS[tick])
            await far.send(OURS[tick], tick)
        assert restarting is not None
        await restarting
        await until(lambda: leg.figures().packets_received == 80)
        assert leg.figures().packets_lost == 0
        await asyncio.sleep(0.05)
        assert await far.datagrams() - before >= 80


async def test_the_answer_to_a_restart_has_credentials_of_its_own_and_all_sections_of_the_offer() -> None:
    async with roaming_call() as (leg, far):
        first = leg._peer.path.local_username
        offer = await far.restart_offer() + "m=video 9 UDP/TLS/RTP/SAVPF 100\r\na=mid:v\r\na=rtpmap:100 VP8/90000\r\n"
        answer = await leg.renegotiate(offer.replace("SAVPF 111", "SAVPF 96").replace(":111 ", ":96 "))
        terms = audio_terms(answer)
        assert terms.ufrag == leg._peer.path.local_username != first
        assert terms.password == leg._peer.path.local_password
        assert leg._peer.path.remote_candidates[0].port == far.coming.local_candidates[0].port
        assert re.findall(r"m=(\w+) (\d+) \S+ ([\d ]+)\r\n", answer) == [
            ("audio", str(leg._peer.path.local_candidates[0].port), "96"),
            ("audio", str(leg._peer.path.local_candidates[0].port), "96"),
            ("video", "0", "0"),
        ]
        assert re.findall(r"a=fingerprint:(\S+) ", answer) == ["sha-256", "sha-256"]
        assert "a=group:BUNDLE 0 1\r\n" in answer


async def test_a_stock_peer_applies_the_answer_to_its_offer() -> None:
    async with roaming_call() as (leg, far):
        stock = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        stock.addTransceiver("audio")
        await stock.setLocalDescription(await stock.createOffer())
        offer = stock.localDescription.sdp
        fingerprints = re.findall(r"a=fingerprint:.*\r\n", far.answer_again())
        answer = await leg.renegotiate(re.sub(r"a=fingerprint:.*\r\n", lambda _: fingerprints[0], offer))
        await stock.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        assert stock.signalingState == "stable"
        await stock.close()


async def test_the_same_offer_again_restarts_nothing() -> None:
    async with roaming_call() as (leg, far):
        await far.restart(leg)
        await until(lambda: leg._peer.path._next is None)
        before = leg._peer.path.local_username
        await far.restart_offer()  # only its credentials are new, and nobody is told of them
        again = far.renegotiation(far.answer_again())
        again = again.replace(audio_terms(again).ufrag, far.ice.local_username)
        again = again.replace(audio_terms(again).password, far.ice.local_password)
        assert audio_terms(await leg.renegotiate(again)).ufrag == before
        assert leg._peer.path._next is None


async def test_a_peer_whose_old_network_is_gone_is_heard_again() -> None:
    far = Roamer(hz=THEIRS_HZ)
    async with roaming_call(far, silence_limit_s=2.0) as (leg, _):
        for protocol in far.ice._protocols:
            protocol.transport.pause_reading()  # the old network swallows everything
            protocol.transport.sendto = lambda *_: None
        offer = await far.restart_offer()
        await until(lambda: leg._peer.path.pulse.silent_s() > 1.0)
        await far.take_answer(await leg.renegotiate(offer))
        await asyncio.sleep(1.5)  # longer than what was left of the silence limit
        assert leg.live
        await assert_both_hear(leg, far)


async def test_a_peer_that_gets_our_answer_late_is_reached_all_the_same() -> None:
    async with roaming_call(Roamer(hz=THEIRS_HZ)) as (leg, far):
        answer = await leg.renegotiate(await far.restart_offer())
        far.coming.remote_username = "other"  # until then it takes our checks for somebody else's, and refuses them
        await asyncio.sleep(0.6)  # for a check and its repetition
        await far.take_answer(answer)
        await assert_both_hear(leg, far)


async def test_the_watch_goes_on_over_the_new_path() -> None:
    async with roaming_call(silence_limit_s=1.0) as (leg, far):
        ended: asyncio.Queue[str] = asyncio.Queue()
        leg.on_ended = ended.put_nowait
        await far.restart(leg)
        await far.leave_old_network()
        ending = asyncio.create_task(ended.get())
        done, _ = await asyncio.wait({ending}, timeout=2.0)
        assert not done, "the far side consents, on the new path only"
        await far.die()
        assert await asyncio.wait_for(ending, 3) == "nothing was heard of the peer for 1 s"


async def test_a_restart_that_does_not_connect_is_given_up_and_the_call_goes_on() -> None:
    async with roaming_call(Roamer(hz=THEIRS_HZ)) as (leg, far):
        path, before = leg._peer.path, udp_ports()
        path._restart_timeout_s = 0.3
        user = path.local_username
        offer = await far.restart_offer()
        await far.coming.close()
        started_s = time.monotonic()
        await leg.renegotiate(offer)
        assert path.local_username != user
        await until(lambda: udp_ports() <= before)
        assert time.monotonic() - started_s < 2
        assert path.local_username == user
        await leg.renegotiate(offer)  # asked again, it is tried again
        assert path._next is not None
        await until(lambda: path._next is None)
        await assert_both_hear(leg, far)
        await far.restart(leg)
        await assert_both_hear(leg, far)


async def test_a_second_restart_replaces_one_that_is_under_way() -> None:
    async with roaming_call(Roamer(hz=THEIRS_HZ)) as (leg, far):
        await leg.renegotiate(await far.restart_offer())
        given_up = leg._peer.path.local_candidates[0].port
        await far.restart(leg)
        assert given_up not in udp_ports()
        await assert_both_hear(leg, far)


async def test_a_restart_before_the_first_connection_is_through_overtakes_it() -> None:
    leg, far = Leg(addresses=LOOPBACK), Roamer(hz=THEIRS_HZ)
    answer = await far.answer(await leg.offer())
    deaf, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    nowhere = re.sub(r"127\.0\.0\.1 \d+ typ", f"127.0.0.1 {deaf.get_extra_info('sockname')[1]} typ", answer)
    nowhere = nowhere.replace(far.ice.local_username, "gone").replace(far.ice.local_password, "g" * 22)
    path = leg._peer.path
    first = path._current
    await leg.apply(nowhere, far.renegotiation(far.answer_again()))
    assert first.remote_username == "gone"
    far.ice.remote_username, far.ice.remote_password = path.local_username, path.local_password
    far.ice._remote_candidates.clear()
    await leg.connected(timeout_s=5)
    await assert_both_hear(leg, far)
    deaf.close()
    await leg.close()
    await far.close()


async def test_an_offer_that_fails_in_aiortc_leaves_path_and_credentials_as_they_were() -> None:
    async with roaming_call(Roamer(hz=THEIRS_HZ)) as (leg, far):
        path, before = leg._peer.path, udp_ports()
        user = path.local_username
        offer = await far.restart_offer()
        before = before | {candidate.port for candidate in far.coming.local_candidates}
        leg._peer._RTCPeerConnection__seenMids = None  # aiortc stumbles over it
        with pytest.raises(LegFailed, match="AttributeError in aiortc"):
            await leg.renegotiate(offer)
        assert path.local_username == user
        assert udp_ports() <= before
        await assert_both_hear(leg, far)


@pytest.mark.parametrize("ending", ["close", "mute"])
async def test_nothing_is_left_of_a_leg_that_ends_during_a_restart(ending: str) -> None:
    tasks, threads, files = asyncio.all_tasks(), threading.active_count(), open_files()
    async with roaming_call() as (leg, far):
        await far.restart(leg)
        await leg.renegotiate(await far.restart_offer())
        assert leg._peer.path._parting
        assert leg._peer.path._next is not None
        if ending == "mute":
            leg.mute_forever()
            assert not leg._peer.path.send_now(b"whatever")
            assert len(udp_ports()) == len(far.ours), "not one of our three sockets is left"
    await until(lambda: not asyncio.all_tasks() - tasks and open_files() <= files)
    assert threading.active_count() <= threads


@pytest.mark.parametrize("ending", ["close", "mute"])
async def test_a_restart_that_waits_for_a_relay_when_the_leg_ends_leaves_nothing(ending: str) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hesitate(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hesitate, "127.0.0.1", 0)
    relays = Relays(turn(f"turn:127.0.0.1:{server.sockets[0].getsockname()[1]}?transport=tcp"))
    tasks, files = asyncio.all_tasks(), open_files()
    async with roaming_call() as (leg, far):
        leg._peer.path._reach = LOOPBACK, None, relays
        renegotiating = asyncio.create_task(leg.renegotiate(await far.restart_offer()))
        await asked.wait()
        leg.mute_forever() if ending == "mute" else await leg.close()
        ended.set()
        with pytest.raises(LegFailed, match="the leg was closed"):
            await renegotiating
    await until(lambda: not asyncio.all_tasks() - tasks and open_files() <= files)
    server.close()


# --- addresses and ports ---


async def test_a_call_over_ipv6_alone_and_its_restart() -> None:
    async with roaming_call(Roamer(hz=THEIRS_HZ, addresses=("::1",)), addresses=("::1",)) as (leg, far):
        assert [candidate.host for candidate in leg._peer.path.local_candidates] == ["::1"]
        await assert_both_hear(leg, far)
        await far.restart(leg)
        await far.leave_old_network()
        await assert_both_hear(leg, far)


async def test_an_offer_names_ipv6_beside_ipv4_and_either_is_enough() -> None:
    for addresses in (("::1",), LOOPBACK):
        async with roaming_call(Roamer(addresses=addresses), addresses=("127.0.0.1", "::1")) as (leg, _):
            assert {candidate.host for candidate in leg._peer.path.local_candidates} == {"127.0.0.1", "::1"}
            assert leg._peer.path._current._nominated[1].local_candidate.host == addresses[0]


async def test_a_restart_stays_within_the_port_range_and_fails_alone_when_it_is_full() -> None:
    low, high = free_ports(2)
    far = Roamer(hz=THEIRS_HZ)
    async with roaming_call(far, ports=(low, high)) as (leg, _):
        theirs = {candidate.port for candidate in far.ice.local_candidates}
        before = udp_ports() - theirs
        offer = await far.restart_offer()
        theirs |= {candidate.port for candidate in far.coming.local_candidates}
        await far.take_answer(await leg.renegotiate(offer))
        new = udp_ports() - before - theirs
        assert len(new) == 1
        assert low <= new.pop() <= high
        await until(lambda: leg._peer.path._next is None)
        offer = await far.restart_offer()
        with pytest.raises(LegFailed, match="in use"):  # the old port lingers, the new one is taken
            await leg.renegotiate(offer)
        await assert_both_hear(leg, far)


# --- TURN servers that are of no use (those that are: tests/interop/test_turn.py) ---


def turn(url: str) -> tuple[IceServer, ...]:
    return read_servers((url,), "line", "s3cret")


@pytest.fixture
def closed_port() -> int:
    low, _ = free_ports(1)
    return low


@LOOPS
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_relay_that_refuses_the_connection_is_named_at_once(run: Run, transport: str, closed_port: int) -> None:
    async def scenario() -> None:
        before = len(psutil.Process().net_connections())
        relays = Relays(turn(f"turn:127.0.0.1:{closed_port}?transport={transport}"), only=True)
        leg = Leg(addresses=LOOPBACK, relays=relays)
        started_s = time.monotonic()
        with pytest.raises(LegFailed, match=rf"turn:127\.0\.0\.1:{closed_port}\S+: the connection was refused"):
            await leg.offer()
        assert time.monotonic() - started_s < ALLOCATION_TIMEOUT_S
        await leg.close()
        await until(lambda: len(psutil.Process().net_connections()) <= before)

    run(scenario())


async def test_relays_that_never_answer_hold_an_offer_up_for_seconds_and_the_call_goes_on() -> None:
    loop = asyncio.get_running_loop()
    silent, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    mute = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    udp, tcp = silent.get_extra_info("sockname")[1], mute.sockets[0].getsockname()[1]
    relays = Relays((*turn(f"turn:127.0.0.1:{udp}"), *turn(f"turns:127.0.0.1:{tcp}")))
    started_s = time.monotonic()
    with capture_logs() as logs:
        async with roaming_call(Roamer(hz=THEIRS_HZ), relays=relays) as (leg, far):
            assert time.monotonic() - started_s < NEGOTIATION_TIMEOUT_S
            await assert_both_hear(leg, far)
    told = {entry["server"]: entry["reason"] for entry in logs if entry["event"] == "relay.refused"}
    assert set(told) == {f"turn:127.0.0.1:{udp}?transport=udp", f"turns:127.0.0.1:{tcp}?transport=tcp"}
    assert all("no answer within 3 s" in reason for reason in told.values())
    silent.close()
    mute.close()


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("turns:127.0.0.1:{}", r"no TLS connection came about .* Is this its port for turns:\?"),
        ("turn:127.0.0.1:{}?transport=tcp", "it closed the connection"),
    ],
)
async def test_a_server_that_is_no_relay_is_named(url: str, cause: str) -> None:
    async def chat(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is something else\r\n")
        writer.close()

    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    leg = Leg(addresses=LOOPBACK, relays=Relays(turn(url.format(port)), only=True))
    started_s = time.monotonic()
    with pytest.raises(LegFailed, match=cause):
        await leg.offer()
    assert time.monotonic() - started_s < ALLOCATION_TIMEOUT_S
    await leg.close()
    server.close()
