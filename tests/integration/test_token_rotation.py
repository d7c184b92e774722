"""Tokens and tables are read again when their file changes; what cannot be used changes nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from shared.bus import Bus
from shared.calls import facts
from shared.errors import BadSetting
from shared.meta.call_settings import CallSettings
from shared.settings import Settings
from shared.wire import Wire
from tests.integration.graph_server import ANSWERS, Server, error
from workers.action.desk import Desk
from workers.action.graph import Graph
from workers.action.jobs import act
from workers.action.pages import Pages

PAGE: Final = "106378625516323"
EXPIRED: Final = error(190, status=401, error_subcode=463)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


@pytest.fixture
def pages_file(tmp_path: Path, token_file: Path) -> Path:
    path = tmp_path / "pages.toml"
    path.write_text(f'[{PAGE}]\ntoken_file = "{token_file}"\naudio = true\n')
    return path


@pytest.fixture
def pages(pages_file: Path) -> Pages:
    return Pages(Settings(pages_file=str(pages_file)))


def test_a_new_token_in_its_file_is_read(pages: Pages, token_file: Path) -> None:
    pages.look()
    assert pages[PAGE] == "first"
    token_file.write_text("second\n")
    with capture_logs() as lines:
        pages.look()
        pages.look()
    assert pages[PAGE] == "second"
    assert [(line["event"], line["renewed"]) for line in lines] == [("pages.loaded", [PAGE])]
    assert "second" not in repr(lines)


def test_a_file_that_is_put_in_the_other_s_place_is_read(pages: Pages, token_file: Path) -> None:
    new = token_file.with_name("new")
    new.write_text("other\n")  # as long as the first
    was = token_file.stat()
    os.utime(new, ns=(was.st_atime_ns, was.st_mtime_ns))
    new.replace(token_file)
    pages.look()
    assert pages[PAGE] == "other"


def test_a_new_page_and_new_wishes_are_read(pages: Pages, pages_file: Path) -> None:
    assert pages.wanted(PAGE) == CallSettings(audio=True)
    pages_file.write_text(f'[{PAGE}]\ntoken = "t"\nicon = false\n[2]\ntoken = "u"\n')
    pages.look()
    assert dict(pages) == {PAGE: "t", "2": "u"}
    assert pages.wanted(PAGE) == CallSettings(icon=False)
    assert pages.wanted("2") == pages.wanted("3") == CallSettings()


@pytest.mark.parametrize("broken", ["[", f"[{PAGE}]\nhandlr = 1\n", "", f'[{PAGE}]\ntoken_env = "NOT_SET_ANYWHERE"\n'])
def test_a_file_that_cannot_be_used_changes_nothing_and_says_so_once(
    pages: Pages, pages_file: Path, broken: str
) -> None:
    good = pages_file.read_text()
    pages_file.write_text(broken)
    with capture_logs() as lines:
        pages.look()
        pages.look()
    assert dict(pages) == {PAGE: "first"}
    assert pages.wanted(PAGE) == CallSettings(audio=True)
    assert [line["event"] for line in lines] == ["pages.not_reloaded"]
    assert lines[0]["because"]
    pages_file.write_text(good.replace("true", "false"))
    pages.look()
    assert pages.wanted(PAGE) == CallSettings(audio=False)


def test_a_token_file_that_is_gone_for_a_moment_changes_nothing(pages: Pages, token_file: Path) -> None:
    token_file.unlink()
    pages.look()
    assert pages[PAGE] == "first"
    token_file.write_text("second")
    pages.look()
    assert pages[PAGE] == "second"


def test_at_the_start_a_file_that_cannot_be_used_is_an_error(pages_file: Path, token_file: Path) -> None:
    token_file.unlink()
    with pytest.raises(BadSetting, match="token_file"):
        Pages(Settings(pages_file=str(pages_file)))


def test_what_the_environment_says_wins_still(pages_file: Path) -> None:
    pages_file.write_text(f'[{PAGE}]\ntoken = "t"\n')
    assert dict(Pages(Settings(pages_file=str(pages_file), page_tokens=f"{PAGE}=u,2=v"))) == {PAGE: "u", "2": "v"}


# -- at work -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()


@pytest.fixture
async def desk(redis_url: str, graph_server: Server, pages: Pages) -> AsyncIterator[Desk]:
    async with Wire.from_url(redis_url) as wire, Graph(graph_server.url, "v23.0") as graph:
        bus = Bus(wire)
        now_ms = await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
        arrived = facts.Arrived(
            page=PAGE, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
        )
        await bus.route("c_1", arrived, identity="connect")
        await bus.route("c_1", facts.OfferMade(sdp="v=0", epoch=1))
        yield Desk(bus=bus, graph=graph, tokens=pages, look_again=pages.look)


async def answer(desk: Desk) -> str:
    async with asyncio.timeout(10):
        return await act(desk, "c_1", PAGE, "accept", 1, desk.bus.now_ms() + 6_000)


async def test_a_token_that_was_renewed_this_moment_saves_the_call(
    desk: Desk, graph_server: Server, token_file: Path
) -> None:
    async def renew() -> None:
        token_file.write_text("second")  # noqa: ASYNC240 a few bytes

    graph_server.will(EXPIRED._replace(first=renew), ANSWERS)
    assert await answer(desk) == "settled"
    assert [request.headers["authorization"] for request in graph_server.requests] == ["Bearer first", "Bearer second"]


async def test_a_token_that_was_not_renewed_is_given_up_at_once(desk: Desk, graph_server: Server) -> None:
    graph_server.will(EXPIRED, ANSWERS)
    assert await answer(desk) == "failed"
    assert len(graph_server.requests) == 1


async def test_a_running_worker_notices_by_itself(pages: Pages, token_file: Path) -> None:
    looking = asyncio.create_task(pages.keep_looking())
    token_file.write_text("second")  # noqa: ASYNC240 a few bytes
    async with asyncio.timeout(10):
        while pages[PAGE] != "second":  # noqa: ASYNC110 a clock is waited for, the file system tells nobody
            await asyncio.sleep(0.05)
    looking.cancel()
