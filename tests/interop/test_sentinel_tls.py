"""A primary and a Sentinel that both speak TLS, with a CA of their own: by our client and by redis-py."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

from shared import redis_client, settings
from shared.embedded import free_port
from shared.errors import RedisAway
from shared.wire import Wire
from tests.acceptance.standin import until
from tests.integration.test_redis_tls import server_context

REDIS: Final = Path("/usr/bin/redis-check-rdb")
"""Debian's `redis-tools` is one program, which is a server if called by that name; the wheel's speaks no TLS."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not REDIS.exists(), reason="redis-tools is not installed: it takes Debian and `make interop`"),
]

TLS: Final = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file leaf.pem
tls-key-file leaf.pem
tls-ca-cert-file ca.pem
tls-auth-clients no
tls-replication yes
requirepass {password}
"""


@contextlib.contextmanager
def server(folder: Path, text: str, port: int, *arguments: str) -> Iterator[None]:
    (folder / f"{port}.conf").write_text(text)
    command = ["redis-server", f"{port}.conf", *arguments]
    process = subprocess.Popen(command, executable=REDIS, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server_context(tmp_path)
    primary, sentinel = free_port(), free_port()
    watched = f"sentinel monitor line 127.0.0.1 {primary} 1\nsentinel auth-pass line secret\n"
    with (
        server(tmp_path, TLS.format(port=primary, password="secret"), primary),
        server(tmp_path, TLS.format(port=sentinel, password="watcher") + watched, sentinel, "--sentinel"),
    ):
        yield f"rediss+sentinel://:secret@127.0.0.1:{sentinel}/line?sentinel_password=watcher"


def is_there(url: str) -> bool:
    with contextlib.suppress(redis.RedisError), redis_client.connect(url) as client:
        return bool(client.ping())
    return False


async def test_both_clients_find_the_primary_and_know_who_is_there(url: str, tmp_path: Path) -> None:
    trusted = settings.load({"REDIS_URL": url, "REDIS_CA_FILE": str(tmp_path / "ca.pem")}).required_redis_url
    await asyncio.to_thread(until, lambda: is_there(trusted), "the primary, by way of Sentinel")
    async with Wire.from_url(trusted) as wire:
        assert await wire.call("PING") == b"PONG"
    assert not await asyncio.to_thread(is_there, url)
    with pytest.raises(RedisAway, match=r"Sentinel at .* cannot be asked: .*certificate.* Set REDIS_CA_FILE to"):
        await Wire.from_url(url).connect()
