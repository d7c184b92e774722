"""What we take for granted of aiortc, aioice and pylibsrtp, which are pinned: run this before one of them is bumped.

Each test says what to do when it fails. Three kinds: names that are not public and that we touch; behaviour that we
depend on; and behaviour that we work around, where a failure is good news and the work-around may go.
"""

import ast
import asyncio
import inspect
import re
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from aioice import Connection
from aioice.ice import StunProtocol
from aioice.stun import parse_message
from aioice.turn import TurnClientTcpProtocol, TurnClientUdpProtocol, TurnTransport
from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceGatherer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import OperationError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtcpPacket, RtpPacket
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from simulator import phone
from tests.integration.test_leg import LOOPBACK, Far, LoopbackConnection, call, introduce, until
from workers.media import ice, leg, path, peer, rtcp, sdp_gate, sockets, srtp, turn
from workers.media.ice import IceConnection
from workers.media.peer import Peer

OUR_MODULES = (peer, path, ice, sockets, turn, rtcp, srtp, phone)

NAMES: dict[type, str] = {
    RTCPeerConnection: """
        _RTCPeerConnection__certificates _RTCPeerConnection__cname _RTCPeerConnection__connect
        _RTCPeerConnection__createTransceiver _RTCPeerConnection__dtlsTransports _RTCPeerConnection__iceTransports
        _RTCPeerConnection__remoteRtp _RTCPeerConnection__transceivers _RTCPeerConnection__updateConnectionState
        _RTCPeerConnection__updateIceConnectionState _RTCPeerConnection__updateIceGatheringState
    """,
    RTCRtpTransceiver: "_bundled",
    RTCRtpReceiver: "_RTCRtpReceiver__jitter_buffer",
    RTCDtlsTransport: """
        _handle_rtcp_data _handle_rtp_data _role _rx_srtp _send_rtp _set_state _ssl _srtp_profiles _state _tx_srtp
        _validate_peer_identity
    """,
    RTCIceTransport: "_connection _recv _send",
    RTCIceGatherer: "_connection _remote_candidates_end",
    Connection: """
        _check_list _check_periodic _closing _local_candidates _local_candidates_end _local_candidates_start _nominated
        _protocols _query_consent_task _queue _remote_candidates_end build_request check_incoming close connect
        gather_candidates get_component_candidates query_consent remote_is_lite
    """,
    StunProtocol: "datagram_received local_candidate request send_data send_stun transactions transport",
    Session: "_srtp",
    TurnTransport: "_connect",
}
"""Names we read, set or override; `test_every_private_name_is_in_the_table` finds what is missing here."""


@pytest.fixture
async def stock() -> AsyncIterator[dict[type, Any]]:
    """Stock objects, wired together as a peer connection wires them."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = pc.addTransceiver("audio")
    dtls = transceiver.sender.transport
    connection = dtls.transport.iceGatherer._connection
    yield {
        RTCPeerConnection: pc,
        RTCRtpTransceiver: transceiver,
        RTCRtpReceiver: transceiver.receiver,
        RTCDtlsTransport: dtls,
        RTCIceTransport: dtls.transport,
        RTCIceGatherer: dtls.transport.iceGatherer,
        Connection: connection,
        StunProtocol: StunProtocol(connection),
        Session: sessions()[0],
        TurnTransport: TurnTransport,
    }
    await pc.close()


# --- names ---


@pytest.mark.parametrize("owner", NAMES, ids=lambda owner: owner.__name__)
async def test_the_private_names_we_touch_are_there(stock: dict[type, Any], owner: type) -> None:
    """If not: read what took the name's place and change the module that uses it; subclass, never patch."""
    declared = {name for base in owner.__mro__ for name in getattr(base, "__annotations__", {})}
    assert [n for n in NAMES[owner].split() if not hasattr(stock[owner], n) and n not in declared] == []


def private_names(tree: ast.Module) -> Iterator[str]:
    """Walk the private attributes a module touches, those that it reaches through `_own` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_own":
            assert isinstance(node.args[0], ast.Constant)
            yield f"_RTCPeerConnection__{node.args[0].value}"


def own_names(tree: ast.Module) -> Iterator[str]:
    """Walk the private names a module gives: its methods, and what its constructors set."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
            if node.name == "__init__":
                targets = (t for n in ast.walk(node) for t in getattr(n, "targets", [getattr(n, "target", None)]))
                yield from (target.attr for target in targets if isinstance(target, ast.Attribute))


def test_every_private_name_is_in_the_table() -> None:
    """If not: put it into NAMES above, so that an upgrade that renames it is told here and not by a call."""
    known = {name for names in NAMES.values() for name in names.split()}
    trees = {module.__name__: ast.parse(inspect.getsource(module)) for module in OUR_MODULES}
    ours = {name for tree in trees.values() for name in own_names(tree)} | {"_current"}
    unknown = {(name, f) for f, tree in trees.items() for name in private_names(tree) if name not in known | ours}
    assert unknown == set()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Peer, RTCPeerConnection),
        (peer.MediaTransport, RTCDtlsTransport),
        (ice.IceConnection, Connection),
        (sockets.Endpoint, StunProtocol),
        (turn._UdpClient, TurnClientUdpProtocol),
        (turn._TcpClient, TurnClientTcpProtocol),
        (peer._Gatherer, RTCIceGatherer),
    ],
)
def test_what_we_override_is_there_and_takes_the_same_arguments(ours: type, theirs: type) -> None:
    """If not: write the override anew from the new original; one that nobody calls any more breaks silently."""
    for name, method in vars(ours).items():
        original = getattr(theirs, name, None)
        if name.startswith(f"_{theirs.__name__}__"):
            assert original is not None, name
        if original is not None and inspect.isfunction(method) and not name.startswith("__"):
            assert list(inspect.signature(method).parameters) == list(inspect.signature(original).parameters), name
            assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(original), name


# --- what we depend on ---


async def answered() -> tuple[RTCPeerConnection, str]:
    """Return a stock peer with its offer made, and an answer to it."""
    caller, far = RTCPeerConnection(RTCConfiguration(iceServers=[])), Far()
    caller.addTransceiver("audio")
    await caller.setLocalDescription(await caller.createOffer())
    answer = await far.answer(caller.localDescription.sdp)
    await far.pc.close()
    return caller, answer


async def test_an_offerer_takes_the_controlling_role_of_ice() -> None:
    """If not: `IceConnection` starts as controlled and nobody would nominate a pair; set the role in `Peer.offer`."""
    ours = Peer(leg.Leg(), 1, path.MediaPath(LOOPBACK))
    await ours.offer()
    assert ours.path.ice_controlling
    await ours.close()


async def test_an_offer_is_written_in_the_lines_that_the_gate_rewrites() -> None:
    """If not: `sdp_gate.advertise` edits by the beginnings of lines; teach it the new ones."""
    ours = Peer(leg.Leg(), 1, path.MediaPath(LOOPBACK))
    text = await ours.offer()
    await ours.close()
    assert [len(re.findall(f"(?m)^{line}", text)) for line in ("m=audio ", "a=mid:0\r$", "a=setup:actpass\r$")] == [
        1
    ] * 3
    assert {"a=ssrc:1 cname:" + ours.cname, "a=end-of-candidates", "a=rtcp-mux"} <= set(text.split("\r\n"))
    assert "a=fingerprint:sha-256 " in text
    advertised = sdp_gate.advertise(text)
    assert re.findall(r"a=rtpmap:(\d+ \S+)", advertised) == [
        "111 opus/48000/2",
        "110 telephone-event/48000",
        "126 telephone-event/8000",
    ]


async def test_consent_is_asked_for_by_the_method_that_we_override() -> None:
    """If not: nothing notices a dead peer, and nothing keeps a muted one; find what `Connection.connect` starts now."""
    ours, theirs = IceConnection(LOOPBACK), LoopbackConnection(ice_controlling=False)
    ours.ice_controlling = True
    await asyncio.gather(ours.gather_candidates(), theirs.gather_candidates())
    await introduce(ours, theirs)
    await introduce(theirs, ours)
    await asyncio.gather(ours.connect(), theirs.connect())
    assert ours._query_consent_task is not None
    assert getattr(ours._query_consent_task.get_coro(), "__qualname__", "") == "IceConnection.query_consent"
    await asyncio.gather(ours.close(), theirs.close())
    assert ours._query_consent_task.cancelled()


async def test_a_second_answer_is_refused_and_leaves_the_call_alone() -> None:
    """If not: `Leg.apply` may be given one by a repeated webhook; let the leg remember that it was answered."""
    caller, answer = await answered()
    await caller.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    with pytest.raises(InvalidStateError):
        await caller.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await caller.close()


@pytest.mark.meta("4.5-dtls")
async def test_the_dtls_role_of_the_answer_stays_through_a_later_offer() -> None:
    """If not: Meta's renegotiation offer says `setup:passive`; see what `Peer.take_offer` makes of the role."""
    async with call() as (ours, far):
        role = ours._peer.media._role
        await ours.renegotiate(far.renegotiation(far.answer_again()))
        assert ours._peer.media._role == role == "client"
        assert ours.live


def sessions() -> tuple[Session, Session]:
    key = bytes(30)
    return (
        Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)),
        Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND)),
    )


def test_a_packet_that_comes_twice_is_refused_by_srtp() -> None:
    """If not: doubles reach `IncomingAudio` and `Playout`, which would count them as late; drop them there."""
    tx, rx = sessions()
    sealed = tx.protect(struct.pack("!BBHLL", 0x80, 111, 1, 2, 3) + b"sound")
    rx.unprotect(sealed)
    with pytest.raises(SrtpError, match="replay"):
        rx.unprotect(sealed)


def test_a_packet_sealed_in_place_is_the_one_that_pylibsrtp_would_make() -> None:
    """If not: `workers.media.srtp` calls libsrtp through pylibsrtp's own binding; see what has moved there."""
    plain = struct.pack("!BBHLL", 0x80, 111, 1, 2, 3) + b"sound"
    (tx, rx), (other, _) = sessions(), sessions()
    srtp.packet[: len(plain)] = plain
    sealed = srtp.Seal(tx).close(len(plain))
    assert sealed == other.protect(plain)
    assert srtp.Seal(rx).open(sealed) == len(plain)
    assert bytes(srtp.packet[: len(plain)]) == plain
    assert srtp.Seal(rx).open(sealed[:-1] + b"?") == 0, "what is not authentic is no packet"


def test_libsrtp_refuses_a_header_that_promises_more_than_there_is() -> None:
    """If not: look whether `rtp.parse` and the fast path still stand it (tests/fuzz/test_packets.py)."""
    tx, _ = sessions()
    with pytest.raises(SrtpError):
        tx.protect(struct.pack("!BBHLLHH", 0x90, 111, 1, 2, 3, 0xBEDE, 9_999))


def test_reports_are_written_and_read_in_the_classes_we_use() -> None:
    """If not: `workers.media.rtcp` builds on aiortc's RTCP classes; write those few bytes there instead."""
    report = struct.pack("!BBHL", 0x81, 201, 7, 5) + struct.pack("!LLLLLL", 7, 0x40000003, 9, 1, 2, 3)
    (block,) = RtcpPacket.parse(report)[0].reports
    assert (block.ssrc, block.fraction_lost, block.packets_lost, block.lsr, block.dlsr) == (7, 0x40, 3, 2, 3)


# --- what we work around ---


async def test_loopback_is_left_out_of_the_candidates() -> None:
    """If not: tests and the simulator may gather as aioice does, without their own way to 127.0.0.1."""
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)


def test_a_malformed_header_extension_raises_what_aiortc_does_not_catch() -> None:
    """If not: aiortc#778 is mended; `MediaTransport._handle_rtp_data` is still wanted for its speed."""
    extensions = HeaderExtensionsMap()
    level = RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level")
    extensions.configure(RTCRtpParameters(headerExtensions=[level]))
    data = struct.pack("!BBHLL", 0x90, 111, 1, 2, 3) + struct.pack("!HHL", 0xBEDE, 1, 0x11FF_0000) + b"x"
    with pytest.raises(struct.error):
        RtpPacket.parse(data, extensions)


def test_a_cut_stun_attribute_raises_what_aioice_does_not_catch() -> None:
    """If not: `ice` need not suppress it."""
    cut = struct.pack("!HHL12sHHHH", 0x0001, 8, 0x2112A442, bytes(12), 0x0024, 2, 0, 0)
    with pytest.raises(struct.error):
        parse_message(cut)


async def test_a_bundle_of_an_absent_mid_breaks_the_peer_connection_for_good() -> None:
    """If not: the gate may let such a group pass, though it has no reason to."""
    caller, answer = await answered()
    transports = {(t.sender.transport, t.receiver.transport) for t in caller.getTransceivers()}
    await caller.setRemoteDescription(RTCSessionDescription(answer.replace("BUNDLE 0", "BUNDLE nosuch 0"), "answer"))
    with pytest.raises(AttributeError):
        await caller.close()
    for sender, _ in transports:
        await sender.stop()
        await sender.transport.stop()


def without_formats(text: str) -> str:
    return re.sub(r"a=(rtpmap|fmtp|rtcp-fb).*\r\n", "", text)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: re.sub(r"a=ice-.*\r\n", "", text), ValueError),
        (lambda text: re.sub(r"(m=audio \d+ \S+) .*\r\n", r"\1 77\r\n", without_formats(text)), OperationError),
        (lambda text: text + "a=fmtp:77 x=y\r\n", RuntimeError),
    ],
    ids=["a section without credentials", "a section without a codec in common", "a format nobody listed"],
)
async def test_one_odd_section_fails_the_whole_description(change: Any, error: type[Exception]) -> None:
    """If not: the gate leaves such sections and lines out all the same; it could do with fewer rules."""
    caller, answer = await answered()
    with pytest.raises(error):
        await caller.setRemoteDescription(RTCSessionDescription(change(answer), "answer"))
    await caller.close()


async def test_sections_that_come_first_later_or_not_at_all_break_the_media_of_a_stock_peer() -> None:
    """If not: `Peer` may leave `_bundled` and `__remoteRtp` to aiortc, if test_later_offers.py says so."""
    source = inspect.getsource(RTCPeerConnection)
    assert "slaveMids and not transceiver._bundled" in source
    assert "self.__remoteDescription().media[transceiver._get_mline_index()]" in source


async def test_all_fingerprints_of_a_peer_have_to_match() -> None:
    """If not: `MediaTransport._validate_peer_identity` may go (RFC 8122 section 5 asks for one)."""
    far, caller = Far(), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    caller.addTransceiver("audio")
    await phone.gather_on(caller, LOOPBACK)
    await caller.setLocalDescription(await caller.createOffer())
    other = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
    answer = (await far.answer(caller.localDescription.sdp)).replace("a=fingerprint", f"{other}\r\na=fingerprint", 1)
    await caller.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await until(lambda: caller.connectionState == "failed")
    await asyncio.gather(caller.close(), far.pc.close())


async def test_a_rollback_is_taken_for_a_description_without_sections() -> None:
    """If not: it may be used to take back an offer of ours that collided. Until then nothing of ours says the word."""
    caller, _ = await answered()
    await caller.setLocalDescription(
        RTCSessionDescription("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "rollback")
    )
    assert caller.signalingState == "have-local-offer"
    await caller.close()
    assert not [file for file in Path(peer.__file__).parent.glob("*.py") if "rollback" in file.read_text()]


async def test_a_dead_peer_is_noticed_only_after_half_a_minute() -> None:
    """If not: `IceConnection.query_consent` has limits of its own; see whether aioice's are settable now."""
    assert aioice.ice.CONSENT_FAILURES * aioice.ice.CONSENT_INTERVAL >= 30


@pytest.mark.meta("4.5-origin")
def test_the_version_of_a_session_is_not_looked_at() -> None:
    """If it is: see that Meta's two descriptions of one version still pass (`sdp_gate.admit_offer`)."""
    assert "origin" not in inspect.getsource(RTCPeerConnection.setRemoteDescription)


@pytest.mark.meta("6.4-audio")
async def test_opus_is_stated_with_numbers_of_aiortcs_own() -> None:
    """If not: `sdp_gate.advertise` writes Meta's numbers over them, wanted or not."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("audio")
    assert "a=rtpmap:96 opus/48000/2" in (await pc.createOffer()).sdp
    await pc.close()
