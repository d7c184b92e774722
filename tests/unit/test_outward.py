"""Where a URL that somebody gave us may lead, by its text and by the addresses that its name stands for."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from shared.errors import BadSetting
from shared.outward import UrlRefused, check, pin, resolve, resolve_now
from shared.settings import load
from shared.streaming import StreamFailed
from tests.unit.test_streams import talk_over

ANYWHERE = (
    "https://example.com/x?key=s3cret",
    "wss://bot.example:8443/ws",
    "https://1.1.1.1/",
    "https://[2606:4700::1]/",
)
HERE = ("http://127.0.0.1:9/", "ws://localhost:8080/ws", "https://127.0.0.1/", "ws://[::1]:1/", "http://a.localhost/")
UNENCRYPTED = ("http://example.com/", "ws://bot:8080/ws", "http://1.1.1.1/")
PRIVATE = (
    "https://10.0.0.5/", "https://192.168.1.1/", "wss://172.16.0.1/", "https://100.64.1.1/", "https://[fd12::1]/",
    "http://10.0.0.5/", "https://[::ffff:10.0.0.5]/", "https://[64:ff9b::a00:5]/",
)  # fmt: skip
NEVER = (
    "http://169.254.169.254/latest/meta-data/", "https://169.254.1.1/", "https://[fe80::1]/", "http://[fd00:ec2::254]/",
    "https://100.100.100.200/", "https://192.0.0.192/", "http://[::ffff:169.254.169.254]/", "https://0.0.0.0/",
    "https://224.0.0.1/", "https://[::]/", "https://255.255.255.255/", "https://[64:ff9b::a9fe:a9fe]/",
)  # fmt: skip


@pytest.mark.parametrize("url", [*ANYWHERE, *HERE])
def test_what_may_be_connected_to(url: str) -> None:
    check(url, "VOICE_AI_URL")


@pytest.mark.parametrize("url", [*UNENCRYPTED, *PRIVATE])
def test_what_wants_to_be_allowed_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UrlRefused, match=r"^VOICE_AI_URL is not usable: .*ALLOW_PRIVATE_URLS=1"):
        check(url, "VOICE_AI_URL")
    monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
    check(url, "VOICE_AI_URL")


@pytest.mark.parametrize("url", NEVER)
def test_what_is_never_connected_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
    with pytest.raises(UrlRefused, match="not usable"):
        check(url, "VOICE_AI_URL")


@pytest.mark.parametrize("url", ["", "bot", "https://", "ftp://example.com/", "file:///etc/passwd", "https://h:port/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UrlRefused, match="write a URL"):
        check(url, "VOICE_AI_URL")


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518"])
def test_another_spelling_of_an_address_is_judged_by_what_it_stands_for(host: str) -> None:
    """The system's resolver reads these as 169.254.169.254; a name of a name server's goes the same way."""
    check(f"https://{host}/", "X")
    with pytest.raises(UrlRefused, match=r"169\.254\.169\.254"):
        resolve_now(f"https://{host}/", "X")


async def test_a_name_is_judged_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "127.0.0.1" in await resolve("http://localhost:8080/", "X")
    with pytest.raises(UrlRefused, match="private network"):
        await resolve("https://10.1/", "X")
    monkeypatch.setenv("ALLOW_PRIVATE_URLS", "1")
    assert await resolve("https://10.1/", "X") == ["10.0.0.1"]


def test_no_query_is_quoted() -> None:
    for url in ("http://example.com/?key=s3cret", "https://10.0.0.1/?key=s3cret", "s3cret"):
        with pytest.raises(UrlRefused) as refused:
            check(url, "X")
        assert "s3cret" not in str(refused.value)


def test_a_process_refuses_to_start_with_such_a_url() -> None:
    with pytest.raises(BadSetting, match="WEBHOOK_FORWARD_URL is not usable"):
        load({"WEBHOOK_FORWARD_URL": "http://169.254.169.254/"})


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[str]]]:
    hosts: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hosts.append(self.headers["host"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, hosts
        server.shutdown()


async def test_a_request_goes_to_the_address_that_was_judged_under_the_name_that_was_given(
    receiver: tuple[int, list[str]],
) -> None:
    port, hosts = receiver
    to = next(each for each in await pin(f"http://localhost:{port}/x?y=1", "X") if "127.0.0.1" in each.url)
    assert to.url == f"http://127.0.0.1:{port}/x?y=1"
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(to.url, headers=to.headers, extensions=to.extensions)
    assert (reply.status_code, hosts) == (204, [f"localhost:{port}"])
    assert to.extensions == {"sni_hostname": "localhost"}


async def test_a_bot_may_not_send_us_on_to_another_host() -> None:
    async def send_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.2:9/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(send_on, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with talk_over(f"ws://127.0.0.1:{port}/") as talk:
            with pytest.raises(StreamFailed, match="cross-origin redirect"):
                await talk.ended()


async def test_a_bot_is_judged_before_it_is_asked_anything() -> None:
    async with talk_over("wss://10.0.0.1/ws?key=s3cret") as talk:
        with pytest.raises(ValueError, match="private network"):
            await talk.ended()
    async with talk_over("wss://10.1/ws?key=s3cret") as talk:  # a name, as far as its text tells
        with pytest.raises(StreamFailed, match="private network") as failed:
            await talk.ended()
    assert "s3cret" not in str(failed.value)
