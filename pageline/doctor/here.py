"""Checks of this machine: settings, handlers, Redis, clocks, and the ways media takes."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pageline.doctor.finding import Finding, failed, ok, unchecked
from shared.clock import unix_ms
from shared.embedded import EmbeddedValkey
from shared.errors import BadSetting, HandlerUnusable, RedisAway
from shared.redis_address import Address
from shared.settings import Settings
from shared.wire import ReplyError, Wire
from workers.media import handler
from workers.media.reach import Unreached, seen_by
from workers.media.sockets import bind, local_addresses

TOKENS: Final = "PAGE_TOKENS, PAGES_FILE"

OLDEST_REDIS: Final = (6, 2)
"""The first with LMOVE and BLMOVE, by which jobs are taken."""

CLOCKS_AGREE_WITHIN_S: Final = 5.0
"""A call is answered within 55 s of the webhook's own timestamp; a clock that is off takes from that, or adds to it."""


def settings_given(settings: Settings) -> list[Finding]:
    """Look whether the settings are there that the processes refuse to start without, and can be read."""
    looks: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("META_APP_SECRET", lambda: settings.app_secrets),
        ("META_VERIFY_TOKEN", lambda: settings.verify_token),
        (TOKENS, lambda: settings.page_token_by_page),
        ("MEDIA_PORTS", lambda: settings.media_port_range),
        ("ICE_SERVERS", lambda: settings.known_ice_servers),
    )
    found = [_setting(name, look) for name, look in looks]
    return [finding for finding in found if finding.failed or finding.check not in ("MEDIA_PORTS", "ICE_SERVERS")]


def _setting(name: str, look: Callable[[], Any]) -> Finding:
    try:
        look()
    except BadSetting as error:
        what, _, remedy = str(error).partition(". ")
        return failed(name, what, remedy or "Mend it; docs/settings.md has them all.")
    return ok(name, "given")


def handlers_import(settings: Settings) -> list[Finding]:
    """Import every handler that is configured, as a media worker does when it starts."""
    with suppress(BadSetting):
        options: dict[str, list[Mapping[str, str]]] = {}
        for choice in (*settings.choices, *settings.without_options):
            options.setdefault(choice.handler, []).append(choice.options)
        return [_handler(name, options[name]) for name in sorted(options)]
    return []


def _handler(name: str, options: list[Mapping[str, str]]) -> Finding:
    try:
        script = handler.load(name)
        for each in options:
            handler.check(script, each)
    except HandlerUnusable as error:
        return failed("handler", str(error), "Mend it, or name another in CALL_HANDLER, CALL_HANDLERS or PAGES_FILE.")
    return ok("handler", f"{name} can be imported")


# -- Redis -------------------------------------------------------------------------------------------------------------


async def redis_serves(settings: Settings) -> list[Finding]:
    """Look at Redis: is it there, new enough, does it keep everything, and does its clock agree with ours."""
    url = settings.redis_url or EmbeddedValkey(Path(settings.data_dir)).find()
    if not url:
        why = "REDIS_URL is not set: `pageline up` starts a Valkey of its own"
        return [unchecked("Redis", why, "Other processes than `up` need REDIS_URL.")]
    try:
        async with Wire.from_url(url, name="pageline-doctor", only_reads=True) as wire:
            info = await _info(wire)
            return [
                _version(info),
                _eviction(info),
                _persistence(info),
                *_replicas(info, Address.from_url(url)),
                await _redis_clock(wire),
            ]
    except (RedisAway, ReplyError, BadSetting) as error:
        return [failed("Redis", str(error), "Start it, or mend REDIS_URL; without it no webhook is answered 200.")]


async def _info(wire: Wire) -> dict[str, str]:
    try:
        sections = await asyncio.gather(
            *(wire.send("INFO", name) for name in ("server", "memory", "persistence", "replication"))
        )
    except ReplyError:  # some hosted servers forbid it
        return {}
    lines = b"\n".join(sections).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _version(info: dict[str, str]) -> Finding:
    said = info.get("redis_version", "")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {said}"
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    if not numbers:
        return unchecked("Redis", "the server does not tell its version")
    if numbers < OLDEST_REDIS:
        return failed("Redis", f"{name} is too old", "Install Redis 6.2 or newer, or Valkey 7.2 or newer.")
    return ok("Redis", name)


def _eviction(info: dict[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "")
    if not policy:
        return unchecked("eviction", "the server does not tell its maxmemory-policy")
    if policy != "noeviction":
        remedy = "Set maxmemory-policy noeviction (deploy/redis.conf): a full server must refuse, not forget calls."
        return failed("eviction", f"maxmemory-policy is {policy}", remedy)
    return ok("eviction", "maxmemory-policy is noeviction")


def _persistence(info: dict[str, str]) -> Finding:
    if "aof_enabled" not in info:
        return unchecked("persistence", "the server does not tell whether it writes an append-only file")
    if info["aof_enabled"] != "1":
        remedy = "Set appendonly yes (deploy/redis.conf): a webhook that was answered 200 comes only once."
        return failed("persistence", "no append-only file is written", remedy)
    return ok("persistence", "an append-only file is written")


def _replicas(info: dict[str, str], address: Address) -> list[Finding]:
    """Judge whether what is confirmed outlives the primary, where there is anybody to follow it."""
    check, wanted = "replicas", address.replicas
    if not (address.sentinels or wanted):
        return []
    if "connected_slaves" not in info:
        return [unchecked(check, "the server does not tell its replicas")]
    there = int(info["connected_slaves"])
    if there < wanted:
        said = f"{there} of the {wanted} that REDIS_WAIT_REPLICAS waits for are there: nothing counts as written"
        return [failed(check, said, "Start them, or lower REDIS_WAIT_REPLICAS.")]
    if not wanted:
        said = "a fail-over may lose what was confirmed in its last moments"
        remedy = "Set REDIS_WAIT_REPLICAS=1, with two replicas or more: with one, the line stands still without it."
        return [failed(check, said, remedy)]
    spare = there - wanted
    said = f"{there}, of which {wanted} must confirm; the line stands still when more than {spare} of them are away"
    return [ok(check, said)]


async def _redis_clock(wire: Wire) -> Finding:
    before_ms = unix_ms()
    seconds, micros = await wire.call("TIME")
    ours_ms = (before_ms + unix_ms()) / 2
    return clock_agrees("clock of Redis", int(seconds) + int(micros) / 1e6 - ours_ms / 1000, "Redis")


def clock_agrees(check: str, ahead_s: float, whose: str) -> Finding:
    """Judge how far another clock is ahead of ours."""
    if abs(ahead_s) > CLOCKS_AGREE_WITHIN_S:
        said = f"{whose} is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
        return failed(check, said, "Set the clocks by NTP: how long a caller may still be answered depends on them.")
    return ok(check, f"agrees within {CLOCKS_AGREE_WITHIN_S:g} s")


# -- media -------------------------------------------------------------------------------------------------------------


async def media_leaves(settings: Settings) -> list[Finding]:
    """Look whether media has an address and a port here, and whether the STUN and TURN servers given can be reached."""
    with suppress(BadSetting):
        ours = settings.local_addresses or local_addresses()
        addresses = [_address(address, settings.media_port_range) for address in ours] or [_no_address()]
        local = settings.local_addresses[0] if settings.local_addresses else ""
        servers = await asyncio.gather(*(_server(server, local) for server in settings.known_ice_servers))
        return [*addresses, *(servers or _no_servers())]
    return []


def _no_address() -> Finding:
    remedy = "Give it one; for trials on one machine set MEDIA_ADDRESSES=127.0.0.1."
    return failed("media address", "this machine has no address but loopback", remedy)


def _address(address: str, ports: tuple[int, int] | None) -> Finding:
    try:
        bind(address, ports).close()
    except OSError as error:
        remedy = "MEDIA_ADDRESSES holds addresses of this machine, MEDIA_PORTS needs free ports."
        return failed("media address", f"{address}: {error}", remedy)
    return ok("media address", f"{address} has a UDP port free")


async def _server(server: Any, local: str) -> Finding:
    try:
        seen = await seen_by(server, local)
    except Unreached as error:
        remedy = "Let outbound UDP through, or name a TURN server over TCP or TLS in ICE_SERVERS (docs/settings.md)."
        return failed("STUN or TURN", f"{server}: {error}", remedy)
    return ok("STUN or TURN", f"{server} sees us at {seen}")


def _no_servers() -> Iterator[Finding]:
    how = "ICE_SERVERS=stun:<a STUN server> pageline doctor tries it"
    yield unchecked("outbound UDP", "no STUN or TURN server is given to ask", f"{how}; calls need all outbound UDP.")
