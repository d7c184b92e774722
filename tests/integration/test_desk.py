"""The desk's login, its WebSocket and `pageline agents`, before any call: a real uvicorn in front of a real Valkey."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingress.desk import COOKIE, NOBODY, TOO_OFTEN, WRONG
from pageline.cli import app
from shared.desk.accounts import TRIES, Accounts, BadAccount
from shared.wire import Wire
from tests.integration.test_ingress import serving

PASSWORD: Final = "correct horse"
WITHIN_S: Final = 10.0


@pytest.fixture
def web(redis_url: str) -> Iterator[httpx.Client]:
    ice = {"ICE_SERVERS": "stun:stun.example.org,turn:turn.example.org", "ICE_USERNAME": "u", "ICE_PASSWORD": "p"}
    with serving(redis_url, **ice) as client:
        yield client


@pytest.fixture
def agents(redis_url: str, tmp_path: Path) -> "Agents":
    return Agents(redis_url, tmp_path)


class Agents:
    """`pageline agents`."""

    def __init__(self, redis_url: str, home: Path) -> None:
        self._environ = {"REDIS_URL": redis_url, "DATA_DIR": str(home)}

    def __call__(self, *arguments: str, stdin: str = "") -> Any:
        ran = CliRunner().invoke(app, ["agents", *arguments], env=self._environ, input=stdin)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout


def log_in(web: httpx.Client, name: str = "ada", password: str = PASSWORD, **headers: str) -> httpx.Response:
    return web.post("/desk/login", data={"name": name, "password": password}, headers=headers)


def cookie_of(web: httpx.Client, name: str = "ada") -> str:
    reply = log_in(web, name)
    assert (reply.status_code, reply.headers["location"]) == (303, "/desk")
    return str(reply.headers["set-cookie"])


@contextlib.asynccontextmanager
async def opened(web: httpx.Client, cookie: str, *, origin: str | None = "") -> AsyncIterator[ClientConnection]:
    headers = {"cookie": cookie.partition(";")[0]}
    if origin is not None:
        headers["origin"] = origin or str(web.base_url)
    async with connect(str(web.base_url).replace("http", "ws") + "/desk/ws", additional_headers=headers) as page:
        yield page


async def message(page: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of a kind."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            told: dict[str, Any] = json.loads(await page.recv())
            if told["type"] == kind:
                return told


async def closed_with(page: ClientConnection) -> int | None:
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await page.recv()
    return page.close_code


# -- pageline agents ---------------------------------------------------------------------------------------------------


def test_agents_are_made_listed_changed_and_removed(agents: Agents) -> None:
    assert "pageline agents add" in agents("list")
    made = agents("add", "ada", "--queue", "sales", "--queue", "support", "--json")
    password = made.pop("password")
    assert made == {"name": "ada", "queues": ["sales", "support"], "supervisor": False}
    assert len(password) == 19
    assert "Password: " in agents("add", "sue", "--supervisor")
    assert agents("list").splitlines() == [
        "ada, agent, queues: sales, support",
        "sue, supervisor, queues: default",
    ]
    assert agents("password", "ada", "--json")["password"] != password
    assert agents("remove", "sue") == "Removed sue.\n"
    assert [each["name"] for each in agents("list", "--json")] == ["ada"]


def test_a_password_may_be_chosen_and_is_not_shown_then(agents: Agents) -> None:
    assert PASSWORD not in agents("add", "ada", "--stdin", stdin=f"{PASSWORD}\n")
    with pytest.raises(BadAccount, match="10 to 256 characters"):
        agents("password", "ada", "--stdin", stdin="short\n")


# -- logging in --------------------------------------------------------------------------------------------------------


def test_without_an_agent_the_page_says_how_to_make_one(web: httpx.Client) -> None:
    assert NOBODY in web.get("/desk").text
    assert log_in(web).status_code == 401
    assert NOBODY in log_in(web).text


def test_who_knows_the_password_gets_in_and_out_again(web: httpx.Client, agents: Agents) -> None:
    agents("add", "ada", "--stdin", stdin=PASSWORD)
    assert "<form" in web.get("/desk").text
    wrong = log_in(web, password="wrong horse")
    assert (wrong.status_code, WRONG in wrong.text) == (401, True)
    assert web.get("/desk/login").headers["location"] == "/desk"
    cookie = cookie_of(web)
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "Path=/desk", "SameSite=strict", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    inside = web.get("/desk", headers={"cookie": cookie.partition(";")[0]})
    assert "default-src 'none'; script-src 'self'" in inside.headers["content-security-policy"]
    assert inside.headers["permissions-policy"] == "microphone=(self)"
    assert web.post("/desk/logout", headers={"cookie": cookie.partition(";")[0]}).status_code == 303
    assert web.get("/desk", headers={"cookie": cookie.partition(";")[0]}).text == web.get("/desk").text


def test_behind_https_the_cookie_stays_there(web: httpx.Client, agents: Agents) -> None:
    agents("add", "ada", "--stdin", stdin=PASSWORD)
    assert "Secure" in log_in(web, **{"x-forwarded-proto": "https"}).headers["set-cookie"].split("; ")


def test_a_form_of_another_page_logs_nobody_in(web: httpx.Client, agents: Agents) -> None:
    agents("add", "ada", "--stdin", stdin=PASSWORD)
    assert log_in(web, origin="https://evil.example").status_code == 403
    assert log_in(web, origin=str(web.base_url)).status_code == 303
    behind = {"origin": "https://line.example", "x-forwarded-host": "line.example"}
    assert log_in(web, **behind).status_code == 303


def test_guessing_is_stopped_even_when_it_is_right(web: httpx.Client, agents: Agents) -> None:
    agents("add", "ada", "--stdin", stdin=PASSWORD)
    for _ in range(TRIES):
        assert log_in(web, password="guess").status_code == 401
    stopped = log_in(web)
    assert (stopped.status_code, TOO_OFTEN in stopped.text) == (429, True)


def test_only_files_of_the_page_are_sent(web: httpx.Client) -> None:
    for name in ("index.html", "..%2fdesk.py", "nothing.js"):
        assert web.get(f"/desk/{name}").status_code == 404


# -- the WebSocket -----------------------------------------------------------------------------------------------------


async def test_the_page_is_welcomed_and_shown_the_desk(web: httpx.Client, agents: Agents) -> None:
    await asyncio.to_thread(agents, "add", "ada", "--queue", "sales", "--stdin", stdin=PASSWORD)
    async with opened(web, cookie_of(web)) as page:
        welcome = await message(page, "welcome")
        assert welcome["agent"] == {"name": "ada", "role": "agent", "queues": ["sales"]}
        assert welcome["ice_servers"] == [
            {"urls": ["stun:stun.example.org:3478"]},
            {"urls": ["turn:turn.example.org:3478?transport=udp"], "username": "u", "credential": "p"},
        ]
        desk = await message(page, "desk")
        assert (desk["me"], desk["waiting"], desk["calls"], desk["queues"]) == ({"state": "away"}, [], [], ["sales"])
        await page.send('{"type": "ready", "ready": true}')
        desk = await message(page, "desk")
        assert desk["agents"] == [{"name": "ada", "state": "ready", "queues": ["sales"]}]


async def test_what_cannot_be_done_is_said_with_its_name(web: httpx.Client, agents: Agents) -> None:
    await asyncio.to_thread(agents, "add", "ada", "--stdin", stdin=PASSWORD)
    async with opened(web, cookie_of(web)) as page:
        for said, about in (
            ('{"type": "take", "call": null}', "take"),
            ('{"type": "hold", "on": true}', "hold"),
            ('{"type": "hang_up"}', "hang_up"),
            ('{"type": "listen", "call": "c_1"}', "listen"),
            ('{"type": "note", "call": "c_1", "text": "x"}', "note"),
            ('{"type": "dance"}', "message"),
            ("no JSON", "message"),
        ):
            await page.send(said)
            error = await message(page, "error")
            assert error["about"] == about
            assert error["message"]


async def test_a_websocket_wants_a_session_and_the_desk_s_own_page(web: httpx.Client, agents: Agents) -> None:
    await asyncio.to_thread(agents, "add", "ada", "--stdin", stdin=PASSWORD)
    cookie = cookie_of(web)
    for origin in (None, "https://evil.example"):
        with pytest.raises(InvalidStatus):
            async with opened(web, cookie, origin=origin):
                pass
    async with opened(web, f"{COOKIE}=guessed") as page:
        assert await closed_with(page) == 4401


async def test_who_was_removed_is_sent_away(web: httpx.Client, agents: Agents) -> None:
    await asyncio.to_thread(agents, "add", "ada", "--stdin", stdin=PASSWORD)
    async with opened(web, cookie_of(web)) as page:
        await message(page, "desk")
        await asyncio.to_thread(agents, "remove", "ada")
        assert await closed_with(page) == 4401


async def test_colleagues_see_each_other_come_and_go(web: httpx.Client, agents: Agents, redis_url: str) -> None:
    async with Wire.from_url(redis_url) as wire:
        for name in ("ada", "bob"):
            await Accounts(wire).add(name, PASSWORD, queues=("sales",), supervisor=False)
    async with opened(web, cookie_of(web)) as page:
        assert len((await message(page, "desk"))["agents"]) == 1
        async with opened(web, cookie_of(web, "bob")):
            assert [each["name"] for each in (await message(page, "desk"))["agents"]] == ["ada", "bob"]
        assert [each["name"] for each in (await message(page, "desk"))["agents"]] == ["ada"]
