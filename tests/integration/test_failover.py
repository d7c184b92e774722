"""A primary that dies or stands still: Sentinel names another, and what was confirmed is there."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from shared import redis_client
from shared.bus import Bus, Routed
from shared.calls import facts
from shared.errors import RedisAway
from shared.redis_address import confirmed_by
from shared.wire import ReplyError, Wire, patiently
from tests.replicated import NAME, Replicated


@pytest.fixture(scope="module")
def standing_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("servers"), replicas=2) as running:
        yield running


@pytest.fixture
def servers(standing_servers: Replicated) -> Replicated:
    """A primary with two replicas, whole again before each test."""
    standing_servers.mend()
    return standing_servers


def confirmed(servers: Replicated) -> Wire:
    """Return a wire that wants one replica to hold what it writes."""
    return Wire.from_url(confirmed_by(servers.url, 1))


def others(servers: Replicated) -> list[int]:
    """Return the ports of the replicas."""
    return [port for port in servers.ports if port != servers.primary]


async def test_replies_keep_their_order_though_they_wait_for_replicas(servers: Replicated) -> None:
    async with confirmed(servers) as wire:

        async def burst() -> list[object]:
            sent = [wire.send(*(("INCR", "n") if number % 10 else ("INCR", "n", "n"))) for number in range(1000)]
            sent[5].cancel()
            return await asyncio.gather(*sent, wire.transaction([("INCR", "n"), ("GET", "n")]), return_exceptions=True)

        before = int(await wire.call("INCR", "n"))
        *replies, last = await burst()
    counted = [reply - before for reply in replies if isinstance(reply, int)]
    assert counted == [number for number in range(1, 901) if number != 5]
    assert [number for number, reply in enumerate(replies) if isinstance(reply, ReplyError)] == list(range(0, 1000, 10))
    assert last == [before + 901, str(before + 901).encode()]


async def test_what_waits_behind_a_question_is_written_before_the_wire_is_closed(servers: Replicated) -> None:
    wire = confirmed(servers)
    await wire.connect()
    first = wire.send("SET", "last", "words")
    await asyncio.sleep(0)  # the question has left with the first
    second = wire.send("SET", "last", "last words")
    await wire.close()
    assert await asyncio.gather(first, second) == [b"OK", b"OK"]
    with servers.client(servers.primary) as witness:
        assert witness.get("last") == b"last words"


async def test_what_no_replica_holds_is_not_confirmed_nor_is_its_repeat_by_another(servers: Replicated) -> None:
    async with confirmed(servers) as first, confirmed(servers) as second:
        told = facts.StatusChanged(status="RINGING")
        with servers.frozen(*others(servers)):
            with pytest.raises(RedisAway, match=r"0 of its replicas confirmed .* REDIS_WAIT_REPLICAS wants 1"):
                await Bus(first).route("unheard", told, identity="1")
            with pytest.raises(RedisAway):
                await Bus(second).route("unheard", told, identity="1")  # it writes nothing, and is not kept either
        assert await patiently(lambda: Bus(second).route("unheard", told, identity="1")) is Routed.DUPLICATE


async def test_a_replica_that_a_sentinel_names_is_refused(servers: Replicated) -> None:
    with servers.misled(others(servers)[0]) as name, pytest.raises(RedisAway, match="is a replica: a fail-over"):
        await Wire.from_url(servers.url.replace(f"/{NAME}", f"/{name}")).connect()


async def test_sentinels_that_do_not_know_the_name_or_do_not_run_are_named(servers: Replicated) -> None:
    with pytest.raises(RedisAway, match="knows no primary named other"):
        await Wire.from_url(servers.url.replace(f"/{NAME}", "/other")).connect()
    port = servers.sentinel_ports[0]
    with pytest.raises(RedisAway, match=rf"Sentinel at 127\.0\.0\.1:{port} cannot be asked: .*password"):
        await Wire.from_url(servers.url.replace("sentinel_password=", "sentinel_password=not-")).connect()
    with pytest.raises(RedisAway, match=r"Sentinel at 127\.0\.0\.1:1 cannot be asked"):
        await Wire.from_url(f"redis+sentinel://127.0.0.1:1/{NAME}").connect()
    with pytest.raises(RedisAway) as refusal:
        await Wire.from_url(servers.url.replace("between-servers", "wr0ng")).connect()
    assert "wr0ng" not in str(refusal.value)


async def test_one_sentinel_is_enough_to_find_the_primary(servers: Replicated) -> None:
    with servers.frozen(*servers.sentinel_ports[1:]):
        async with confirmed(servers) as wire:
            assert await wire.call("PING") == b"PONG"


async def test_every_call_that_was_told_as_kept_outlives_the_primary_and_rqs_client_follows(
    servers: Replicated,
) -> None:
    rqs = redis_client.connect(confirmed_by(servers.url, 1))
    assert await asyncio.to_thread(rqs.set, "mine", "1")
    servers.await_replicas(servers.primary, 2)
    async with confirmed(servers) as wire:
        bus, kept, missed = Bus(wire), set[str](), set[str]()

        async def tell(call_id: str) -> None:
            try:
                assert await bus.route(call_id, facts.StatusChanged(status="RINGING"), identity="1") is Routed.LOGGED
                kept.add(call_id)
            except RedisAway:
                missed.add(call_id)

        async with asyncio.TaskGroup() as group:
            for number in range(600):
                group.create_task(tell(f"call-{number}"))
                if number == 300:
                    servers.kill(servers.primary)
                await asyncio.sleep(0.001)
        assert kept
        assert missed
        for call_id in kept:
            assert len(await patiently(partial(bus.read_log, call_id))) == 1, call_id
        for call_id in missed:  # Meta repeats what was not taken
            again = await bus.route(call_id, facts.StatusChanged(status="RINGING"), identity="1")
            assert again in (Routed.LOGGED, Routed.DUPLICATE)
            assert len(await bus.read_log(call_id)) == 1
    assert await asyncio.to_thread(rqs.get, "mine") == b"1"
    rqs.close()


async def test_a_primary_that_stood_still_is_not_believed_when_it_wakes(servers: Replicated) -> None:
    old = servers.primary
    async with confirmed(servers) as wire:
        with servers.frozen(old):
            await patiently(lambda: wire.call("SET", "told", "by the new one"))
            assert servers.primary != old
        assert await patiently(lambda: wire.call("GET", "told")) == b"by the new one"
