"""The Redis client on a real Valkey, behind a road that can be cut, stopped up, or covered by TLS."""

import asyncio
import datetime as dt
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.embedded import EmbeddedValkey
from shared.errors import BadSetting, RedisAway
from shared.redis_address import Address
from shared.wire import PATIENCE_S, ReplyError, Script, Wire


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is in another process, or in a private part
            await asyncio.sleep(0.005)


class Road:
    """A TCP port of 127.0.0.1 that leads to Valkey, counts the writes it carries, and can be cut or stopped up."""

    def __init__(self, target: Address, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._journeys = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.open = asyncio.Event()
        self.open.set()
        self.writes: list[bytes] = []

    @property
    def url(self) -> str:
        scheme = "rediss" if self._tls else "redis"
        return f"{scheme}://:{self._target.password}@127.0.0.1:{self.port}/0"

    async def build(self) -> None:
        self._server = await asyncio.start_server(self._travel, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and break those there are."""
        assert self._server
        self._server.close()
        self.break_connections()
        await until(lambda: not self._journeys)

    def break_connections(self) -> None:
        for writer in self._writers.copy():
            writer.transport.abort()

    async def _travel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._journeys += 1
        target = self._target
        there, back = await (
            asyncio.open_unix_connection(target.path)
            if target.path
            else asyncio.open_connection(target.host, target.port)
        )
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back, self.writes))
                group.create_task(self._carry(there, writer, []))
        except* OSError:
            pass
        finally:
            self._writers -= {writer, back}
            self._journeys -= 1

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[bytes]) -> None:
        while data := await reader.read(1 << 20):
            await self.open.wait()
            seen.append(data)
            writer.write(data)
        writer.transport.abort()


@pytest.fixture
async def road(redis_url: str) -> AsyncIterator[Road]:
    road = Road(Address.from_url(redis_url))
    await road.build()
    yield road
    await road.cut()


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    async with Wire.from_url(redis_url) as wire:
        yield wire


@pytest.fixture
def witness(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


async def test_replies_come_as_bytes_integers_none_and_lists(wire: Wire) -> None:
    assert await wire.call("SET", "k", "é") == b"OK"
    assert await wire.call("GET", "k") == "é".encode()
    assert await wire.call("INCR", "n") == 1
    assert await wire.call("GET", "nothing") is None
    assert await wire.call("MGET", "k", "nothing") == ["é".encode(), None]
    assert await wire.call("INCRBYFLOAT", "f", 1.5) == b"1.5"


async def test_an_error_reply_is_raised_for_its_command_and_no_other(wire: Wire) -> None:
    wrong, right = wire.send("INCR"), wire.send("INCR", "n")
    with pytest.raises(ReplyError, match="wrong number of arguments"):
        await wrong
    assert await right == 1


async def test_commands_of_one_tick_leave_in_one_write(road: Road) -> None:
    async with Wire.from_url(road.url) as wire:
        before = len(road.writes)
        replies = [wire.send("INCR", "n") for _ in range(100)]
        assert await asyncio.gather(*replies) == list(range(1, 101))
        assert len(road.writes) == before + 1


async def test_the_database_and_the_name_of_a_wire_are_those_it_was_given(redis_url: str, witness: redis.Redis) -> None:
    wire = Wire.from_url(f"{redis_url}{'&' if '?' in redis_url else '?'}db=3", name="listener")
    async with wire:
        await wire.call("SET", "here", 1)
        assert [client for client in witness.client_list() if client["name"] == "listener" and client["db"] == "3"]
    assert witness.get("here") is None
    assert "password" not in str(wire.address)


async def test_a_wrong_password_is_said_by_connect(road: Road) -> None:
    with pytest.raises(RedisAway, match="WRONGPASS"):
        await Wire.from_url(f"redis://:wrong@127.0.0.1:{road.port}").connect()


async def test_connecting_to_nobody_names_the_address_and_may_be_tried_again(road: Road) -> None:
    await road.cut()
    wire = Wire.from_url(road.url)
    with pytest.raises(RedisAway, match=f"127.0.0.1:{road.port}"):
        await wire.connect()
    await road.build()
    await wire.connect()
    assert await wire.call("PING") == b"PONG"
    await wire.close()


async def test_a_closed_wire_takes_no_commands(redis_url: str) -> None:
    async with Wire.from_url(redis_url) as wire:
        await wire.call("PING")
    with pytest.raises(RedisAway, match="connect"):
        wire.send("PING")


async def test_what_was_sent_before_closing_still_arrives(redis_url: str, witness: redis.Redis) -> None:
    async with Wire.from_url(redis_url) as wire:
        wire.send("SET", "last", "word").add_done_callback(lambda sent: sent.exception())
    await until(lambda: witness.get("last") == b"word")


async def test_a_broken_connection_fails_what_is_in_flight_and_never_repeats_it(
    road: Road, witness: redis.Redis
) -> None:
    async with Wire.from_url(road.url) as wire:
        road.open.clear()
        in_flight = [wire.send("INCR", "n") for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        road.break_connections()
        results = await asyncio.gather(*in_flight, return_exceptions=True)
        assert [type(result) for result in results] == [RedisAway] * 3
        road.open.set()
        assert await wire.call("PING") == b"PONG", "the wire heals itself"
    assert witness.get("n") is None


async def test_a_command_waits_for_a_connection_that_is_soon_restored(road: Road) -> None:
    async with Wire.from_url(road.url) as wire:
        road.break_connections()
        await until(lambda: not wire.connected)
        assert await wire.call("INCR", "n") == 1
        assert wire.connected


async def test_a_command_fails_soon_while_redis_stays_away_and_works_when_it_returns(road: Road) -> None:
    loop = asyncio.get_running_loop()
    async with Wire.from_url(road.url) as wire:
        await road.cut()
        await until(lambda: not wire.connected)
        began = loop.time()
        with pytest.raises(RedisAway):
            await wire.call("PING")
        assert PATIENCE_S * 0.9 < loop.time() - began < PATIENCE_S + 0.5
        abandoned = wire.send("INCR", "n")
        abandoned.cancel()
        await road.build()
        await until(lambda: wire.connected)
        assert await wire.call("GET", "n") is None, "nobody waits for a cancelled command, so it is not sent"


async def test_a_silent_server_is_given_up_after_the_time_limit(road: Road) -> None:
    loop = asyncio.get_running_loop()
    async with Wire.from_url(road.url, timeout_s=0.2) as wire:
        road.open.clear()
        began = loop.time()
        with pytest.raises(RedisAway, match="in time"):
            await wire.call("PING")
        assert 0.15 < loop.time() - began < 1.0
        road.open.set()
        await until(lambda: wire.connected)
        assert await wire.call("PING") == b"PONG"


async def test_a_blocking_command_brings_its_own_time_limit(redis_url: str) -> None:
    async with Wire.from_url(redis_url, timeout_s=0.05) as wire:
        assert await wire.call("BLPOP", "nothing", 0.2, timeout_s=2.0) is None


async def test_a_reply_nobody_waits_for_any_more_does_not_shift_the_others(wire: Wire) -> None:
    await wire.call("SET", "k", "v")
    forgotten = wire.send("INCR", "n")
    forgotten.cancel()
    assert await wire.call("GET", "k") == b"v"


async def test_a_transaction_is_all_or_nothing_and_nobody_comes_between(wire: Wire) -> None:
    replies = await asyncio.gather(
        *(wire.transaction([("INCR", "n"), ("INCR", "n"), ("GET", "n")]) for _ in range(20)), wire.call("PING")
    )
    assert replies[:-1] == [[i * 2 + 1, i * 2 + 2, str(i * 2 + 2).encode()] for i in range(20)]
    with pytest.raises(ReplyError, match="EXECABORT"):
        await wire.transaction([("SET", "done", 1), ("NOSUCHCOMMAND",)])
    assert await wire.call("GET", "done") is None
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        await wire.transaction([("LPUSH", "n", 1)])


async def test_a_script_is_taught_to_a_server_that_forgot_it(wire: Wire, witness: redis.Redis) -> None:
    script = Script("redis.call('INCRBY', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1]}")
    assert await script.run(wire, ["n"], [2]) == [b"n", b"2"]
    witness.script_flush()
    assert await script.run(wire, ["n"], [3]) == [b"n", b"3"]
    assert witness.get("n") == b"5"
    with pytest.raises(ReplyError, match="ERR"):
        await Script("return redis.call('NOPE')").run(wire, [])


async def test_a_replica_after_a_failover_counts_as_away(redis_url: str, witness: redis.Redis, wire: Wire) -> None:
    witness.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(RedisAway, match="READONLY"):
            await wire.call("SET", "k", "v")
        with pytest.raises(RedisAway):
            await wire.transaction([("SET", "k", "v")])
    finally:
        witness.replicaof("NO", "ONE")
    await until(lambda: wire.connected)
    assert await wire.call("SET", "k", "v") == b"OK"


async def test_tls_checks_the_certificate_unless_the_url_waives_it(redis_url: str, tmp_path: Path) -> None:
    road = Road(Address.from_url(redis_url), tls=self_signed(tmp_path))
    await road.build()
    with pytest.raises(RedisAway, match="certificate"):
        await Wire.from_url(road.url).connect()
    for waiver in ("?ssl_cert_reqs=none", f"?ssl_ca_certs={tmp_path / 'cert.pem'}&ssl_check_hostname=false"):
        async with Wire.from_url(road.url + waiver) as wire:
            assert await wire.call("PING") == b"PONG"
    await road.cut()


def test_an_address_is_read_from_each_kind_of_url() -> None:
    assert Address.from_url("redis://localhost") == Address("localhost", 6379)
    assert Address.from_url("redis://me:p%40ss@cache:7000/2") == Address("cache", 7000, "", 2, "me", "p@ss")
    assert Address.from_url("unix://:secret@/run/v.sock?db=1") == Address("", 0, "/run/v.sock", 1, "", "secret")
    assert Address.from_url("rediss://h").tls is not None
    assert "secret" not in repr(Address.from_url("redis://:secret@h")) + str(Address.from_url("redis://:secret@h"))


@pytest.mark.parametrize("url", ["http://h", "redis://h/first", "redis://h:port", "unix://", ""])
def test_an_address_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(BadSetting, match="REDIS_URL") as refusal:
        Address.from_url(url)
    assert not url or url not in str(refusal.value)


async def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        async with Wire.from_url(server.url) as wire:
            await wire.call("SET", "k", "v")
            server.stop()
            await until(lambda: not wire.connected)
            server.start()
            await until(lambda: wire.connected)
            assert await wire.call("GET", "k") == b"v"
    finally:
        server.stop()


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valkey")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_server_that_takes_no_writes_counts_as_away_and_the_connection_stays(redis_url: str) -> None:
    """A full Redis must not end a sweeper or a media worker for good; both wait for RedisAway to pass."""
    async with Wire.from_url(redis_url) as wire:
        client_id = wire.client_id
        await wire.call("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(RedisAway, match="takes no writes: OOM"):
                await wire.call("SET", "key", "value")
        finally:
            await wire.call("CONFIG", "SET", "maxmemory", "0")
        await wire.call("SET", "key", "value")
        assert wire.client_id == client_id
