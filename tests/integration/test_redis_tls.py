"""A Redis that speaks TLS with a certificate of its provider's own CA: by our client and by redis-py, which RQ and the
dashboard use, alike. The server in the wheel speaks none, so a proxy does before it."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared import settings
from shared.errors import BadSetting, RedisAway
from shared.redis_address import Address, trusting
from shared.wire import Wire
from tests.integration.test_wire import Road

Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(name: str, by: Signed | None, *, host: str = "127.0.0.1") -> Signed:
    """Make a certificate, signed by a CA or, without one, to be a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if by is None else (by[0].subject, by[1])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    if by is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def server_context(folder: Path, *, host: str = "127.0.0.1") -> ssl.SSLContext:
    """Return the context of a server with a chain of a private CA, which is `ca.pem`."""
    ca = certificate("provider", None)
    (leaf, key), pem = certificate("valkey", ca, host=host), serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca[0].public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return context


@pytest.fixture
async def road(redis_url: str, tmp_path: Path) -> AsyncIterator[Road]:
    road = Road(Address.from_url(redis_url), tls=server_context(tmp_path))
    await road.build()
    yield road
    await road.cut()


def ping(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


async def test_with_the_providers_ca_both_clients_know_who_is_there(road: Road, tmp_path: Path) -> None:
    url = settings.load({"REDIS_URL": road.url, "REDIS_CA_FILE": str(tmp_path / "ca.pem")}).required_redis_url
    async with Wire.from_url(url) as wire:
        assert await wire.call("PING") == b"PONG"
    assert await asyncio.to_thread(ping, url)


async def test_without_it_both_refuse_and_the_remedy_is_named(road: Road) -> None:
    with pytest.raises(RedisAway, match="REDIS_CA_FILE") as refusal:
        await Wire.from_url(road.url).connect()
    assert "certificate" in str(refusal.value)
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(ping, road.url)


async def test_only_who_asks_for_it_goes_without_proof(road: Road) -> None:
    url = f"{road.url}?ssl_cert_reqs=none"
    async with Wire.from_url(url) as wire:
        assert await wire.call("PING") == b"PONG"
    assert await asyncio.to_thread(ping, url)


async def test_a_certificate_for_another_name_is_refused_with_its_own_remedy(redis_url: str, tmp_path: Path) -> None:
    road = Road(Address.from_url(redis_url), tls=server_context(tmp_path, host="127.0.0.2"))
    await road.build()
    url = trusting(road.url, str(tmp_path / "ca.pem"))
    with pytest.raises(RedisAway, match="ssl_check_hostname=false"):
        await Wire.from_url(url).connect()
    async with Wire.from_url(f"{url}&ssl_check_hostname=false") as wire:
        assert await wire.call("PING") == b"PONG"
    assert await asyncio.to_thread(ping, f"{url}&ssl_check_hostname=false")
    await road.cut()


async def test_a_server_that_does_not_answer_tls_may_speak_none() -> None:
    async with await asyncio.start_server(lambda *_: asyncio.sleep(0), "127.0.0.1", 0) as deaf:
        port = deaf.sockets[0].getsockname()[1]
        with pytest.raises(RedisAway, match="does it speak TLS"):
            await Wire.from_url(f"rediss://127.0.0.1:{port}", timeout_s=0.1).connect()


def test_a_ca_that_cannot_be_used_is_refused_at_start(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    for url, ca_file in (
        ("redis://h", str(tmp_path / "text.pem")),
        ("rediss://h", nothing),
        ("rediss://h", str(tmp_path / "text.pem")),
    ):
        with pytest.raises(BadSetting, match="REDIS_CA_FILE"):
            settings.load({"REDIS_URL": url, "REDIS_CA_FILE": ca_file})
    with pytest.raises(BadSetting, match="REDIS_URL"):
        Address.from_url(f"rediss://h?ssl_ca_certs={nothing}")


def test_what_the_url_says_itself_comes_first(tmp_path: Path) -> None:
    server_context(tmp_path)
    ca = str(tmp_path / "ca.pem")
    assert trusting("rediss://h/1?ssl_ca_certs=other.pem", ca) == "rediss://h/1?ssl_ca_certs=other.pem"
    assert trusting(trusting("rediss://h/1?a=b", ca), ca).count("ssl_ca_certs") == 1
    assert trusting("", ca) == ""
    assert trusting("redis://h", "") == "redis://h"
