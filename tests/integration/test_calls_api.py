"""`/v1/calls` on a real uvicorn and a real Valkey: what it takes, and what it refuses with which word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from ingress.calls_api import LARGEST_BODY_BYTES
from ingress.keys import WRONG_KEYS
from tests.integration.test_ingress import serving

KEY: Final = {"authorization": "Bearer a-key"}
PAGE: Final = "106378625516323"


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages.toml"
    path.write_text(f'[{PAGE}]\ntoken = "a-token"\n')
    return path


@pytest.fixture
def web(redis_url: str, pages: Path) -> Iterator[httpx.Client]:
    with serving(redis_url, PAGELINE_API_KEYS="a-key", PAGES_FILE=str(pages)) as client:
        client.headers.update(KEY)
        yield client


def place(web: httpx.Client, page: str = PAGE, **more: Any) -> httpx.Response:
    return web.post("/v1/calls", json={"page": page, "to": "24680135791113", **more})


def why(reply: httpx.Response) -> str:
    said: str = reply.json()["error"]["message"]
    return said


def test_a_body_without_an_end_is_refused_before_it_is_all_there(web: httpx.Client) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(LARGEST_BODY_BYTES // 1000 + 2):
            yield b" " * 1000

    reply = web.post("/v1/calls", content=blocks())
    assert reply.status_code == 413
    assert str(LARGEST_BODY_BYTES) in why(reply)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "9" * 5000])
def test_a_limit_that_is_none_is_refused(web: httpx.Client, limit: str) -> None:
    assert web.get("/v1/calls", params={"limit": limit}).status_code == 400


def test_a_page_that_has_come_into_its_file_can_call_at_once(web: httpx.Client, pages: Path) -> None:
    assert place(web, "2").status_code == 400
    pages.write_text(pages.read_text() + '[2]\ntoken = "another"\n')
    assert place(web, "2").status_code == 202


def test_a_file_of_pages_that_cannot_be_used_is_named(web: httpx.Client, pages: Path) -> None:
    pages.write_text("[")
    reply = place(web)
    assert (reply.status_code, str(pages) in why(reply)) == (400, True)


def test_the_same_key_for_another_consumer_is_refused_with_the_call_it_was_used_for(web: httpx.Client) -> None:
    body, key = {"page": PAGE, "to": "1"}, {"idempotency-key": "order 17"}
    first = web.post("/v1/calls", json=body, headers=key).json()["call_id"]
    assert web.post("/v1/calls", json=body, headers=key).json()["call_id"] == first
    other = web.post("/v1/calls", json=body | {"to": "2"}, headers=key)
    assert (other.status_code, first in why(other)) == (422, True)


def test_a_key_opens_what_its_scope_covers_and_is_told_what_else_it_takes(redis_url: str) -> None:
    with serving(redis_url, PAGELINE_API_KEYS="read:looks,call:calls", PAGE_TOKENS=f"{PAGE}=x") as client:
        client.headers["authorization"] = "Bearer looks"
        assert client.get("/v1/calls").status_code == 200
        refused = place(client)
        assert (refused.status_code, "`call`" in why(refused)) == (403, True)
        client.headers["authorization"] = "Bearer calls"
        assert client.get("/v1/calls").status_code == 200
        assert place(client).status_code == 202


def test_who_guesses_keys_is_told_to_wait_and_who_holds_one_gets_in_all_the_same(web: httpx.Client) -> None:
    wrong = {"authorization": "Bearer a-guess"}
    told = [web.get("/v1/calls", headers=wrong).status_code for _ in range(WRONG_KEYS + 1)]
    assert told == [401] * WRONG_KEYS + [429]
    assert web.get("/v1/calls").status_code == 200
