"""`pageline settings` and `pageline doctor` against a stand-in for Graph: what they say, and what they change."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import redis
from aioice.stun import Class, Message, Method, parse_message
from typer.testing import CliRunner

from pageline.cli import app
from pageline.doctor.there import FEATURE, ROUTED, SUBSCRIBED
from shared.embedded import EmbeddedValkey
from shared.errors import BadSetting
from tests.integration.graph_server import Reply, error
from tests.integration.page_server import APP, SECRET, VERSION, PageServer

PAGE: Final = "106378625516323"
OTHER: Final = "2"
OURS: Final = ["calls", "call_permission_reply", "call_settings_update"]
WELL: Final = {"audio_enabled": True, "call_routing": {"ring_target": "PARTNERS"}}
HOURS: Final = {
    "timezone_id": "Africa/Lagos",
    "weekly_operating_hours": [{"day_of_week": "MONDAY", "open_time": "0900", "close_time": "1700"}],
}


class Ran(NamedTuple):
    """What a command did."""

    status: int
    said: Any
    """Its JSON, or its text."""
    chatter: str


class Line:
    """A configured line, and its commands."""

    def __init__(self, meta: PageServer, redis_url: str, folder: Path) -> None:
        self.environ = {
            "META_APP_SECRET": SECRET,
            "META_VERIFY_TOKEN": "v3rify",
            "META_APP_ID": APP,
            "PAGE_TOKENS": f"{PAGE}=token",
            "GRAPH_URL": meta.url,
            "GRAPH_VERSION": VERSION,
            "REDIS_URL": redis_url,
            "MEDIA_ADDRESSES": "127.0.0.1",
            "COLUMNS": "200",
        }
        self._folder = folder

    def wants(self, table: str) -> None:
        path = self._folder / "pages.toml"
        path.write_text(table)
        self.environ["PAGES_FILE"] = str(path)

    async def run(self, *arguments: str, as_json: bool = True) -> Ran:
        command = [*arguments, *(["--json"] if as_json else [])]
        ran = await asyncio.to_thread(lambda: CliRunner().invoke(app, command, env=self.environ))
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return Ran(ran.exit_code, json.loads(ran.stdout) if as_json else ran.stdout, ran.stderr)


@pytest.fixture
async def meta() -> AsyncIterator[PageServer]:
    server = PageServer()
    await server.listen()
    yield server
    await server.close()


@pytest.fixture
def line(meta: PageServer, redis_url: str, tmp_path: Path) -> Line:
    return Line(meta, redis_url, tmp_path)


WANTS: Final = f"""
[{PAGE}]
icon = true
audio = true
routing = "partners"
[{PAGE}.hours]
timezone = "Africa/Lagos"
monday = "09:00-17:00"
"""


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.meta("7.1-icon", "7.1-get")
@pytest.mark.parametrize("wrapped", [False, True], ids=["as the guide", "as the reference"])
async def test_settings_are_shown_compared_applied_and_then_the_same(
    line: Line, meta: PageServer, wrapped: bool
) -> None:
    line.wants(WANTS)
    meta.wrapped = wrapped
    page = meta.page(PAGE, fields=OURS, icon_enabled=False, video_enabled=True, call_routing={"ring_target": "META"})

    shown = await line.run("settings", "show")
    assert shown.status == 0
    (stand,) = shown.said
    assert stand["actual"] == {"video": True, "icon": False, "routing": "meta"}
    assert stand["wanted"]["hours"] == {"timezone": "Africa/Lagos", "monday": "09:00-17:00"}

    compared = await line.run("settings", "diff")
    assert compared.status == 1
    assert [each["setting"] for each in compared.said[0]["changes"]] == ["audio", "icon", "hours", "routing"]

    dry = await line.run("settings", "apply", "--dry-run")
    assert dry.status == 0
    assert [each["done"] for each in dry.said[0]["changes"]] == [None] * 4
    assert meta.posted("messenger_call_settings") == []

    applied = await line.run("settings", "apply")
    assert applied.status == 0
    assert [each["done"] for each in applied.said[0]["changes"]] == [True] * 4
    assert meta.posted("messenger_call_settings") == [
        {"audio_enabled": True},
        {"icon_enabled": True},
        {"call_hours": HOURS},
        {"call_routing": {"ring_target": "PARTNERS"}},
    ]
    assert page["settings"]["video_enabled"], "what is not given is left alone"

    again = await line.run("settings", "diff")
    assert (again.status, again.said) == (0, [{"page": PAGE, "changes": [], "error": None}])


@pytest.mark.meta("7.1-partners-last")
async def test_calls_are_routed_here_only_once_they_are_subscribed_to(line: Line, meta: PageServer) -> None:
    line.wants(f'[{PAGE}]\nrouting = "partners"\nicon = false\n')
    page = meta.page(PAGE, fields=["messages"])
    applied = await line.run("settings", "apply")
    assert applied.status == 1
    icon, routing = applied.said[0]["changes"]
    assert (icon["done"], routing["done"]) == (True, False)
    assert "pageline doctor --fix" in routing["error"]
    assert page["settings"] == {"icon_enabled": False}


@pytest.mark.meta("7.1-post", "7.3-errors")
@pytest.mark.parametrize(
    "reply",
    [Reply(200, b'{"result":"failure"}'), Reply(200, b'{"success":"false"}'), error(1893056)],
    ids=["result", "success", "error"],
)
async def test_what_meta_does_not_do_has_failed(line: Line, meta: PageServer, reply: Reply) -> None:
    line.wants(f"[{PAGE}]\nicon = false\n")
    meta.page(PAGE, fields=OURS)
    meta.refuses["messenger_call_settings"] = reply
    applied = await line.run("settings", "apply")
    assert applied.status == 1
    assert applied.said[0]["changes"][0]["done"] is False
    assert "icon was not changed" in applied.said[0]["changes"][0]["error"]


async def test_one_page_that_cannot_be_read_does_not_keep_the_others_from_being_so(
    line: Line, meta: PageServer
) -> None:
    line.environ["PAGE_TOKENS"] = f"{PAGE}=token,{OTHER}=token"
    line.wants(f"[{PAGE}]\nicon = true\n")
    meta.page(PAGE, fields=OURS, icon_enabled=True)
    meta.page(OTHER, fields=OURS)["wrong"] = error(190, error_subcode=463)
    shown = await line.run("settings", "show")
    assert shown.status == 1
    stands = {each["page"]: each for each in shown.said}
    assert stands[PAGE]["actual"] == {"icon": True}
    assert "has expired" in stands[OTHER]["error"]
    assert (await line.run("settings", "show", "--page", PAGE)).status == 0
    with pytest.raises(BadSetting, match=PAGE):
        await line.run("settings", "show", "--page", "3")


async def test_people_get_a_table(line: Line, meta: PageServer) -> None:
    line.wants(WANTS)
    meta.page(PAGE, fields=OURS, icon_enabled=False)
    assert "not said" in (await line.run("settings", "show", as_json=False)).said
    assert "icon: off, wanted on" in (await line.run("settings", "diff", as_json=False)).said
    assert "changed" in (await line.run("settings", "apply", as_json=False)).said
    assert "as PAGES_FILE wants it" in (await line.run("settings", "diff", as_json=False)).said


# -- doctor ------------------------------------------------------------------------------------------------------------


def status_of(ran: Ran, check: str, page: str | None = PAGE) -> str:
    (found,) = [each for each in ran.said["checks"] if each["check"] == check and each["page"] == page]
    assert isinstance(found["status"], str)
    return found["status"]


def remedies(ran: Ran) -> dict[str, str]:
    return {each["check"]: each["remedy"] for each in ran.said["checks"] if each["status"] == "failed"}


async def test_nothing_is_wrong_with_a_line_that_is_well(line: Line, meta: PageServer) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    ran = await line.run("doctor")
    assert remedies(ran) == {}
    assert (ran.status, ran.said["ok"], ran.said["no_call_arrives"]) == (0, True, [])
    names = [each["check"] for each in ran.said["checks"]]
    assert names.index("META_APP_SECRET") < names.index("Redis") < names.index("access token") < names.index(FEATURE)
    switches = names.index(FEATURE)
    assert names[switches : switches + 3] == [FEATURE, SUBSCRIBED, ROUTED]
    assert meta.posted("messenger_call_settings") == meta.posted("subscribed_apps") == []


@pytest.mark.meta("7.1-audio", "7.3-errors")
async def test_the_three_switches_are_named_first_and_together(line: Line, meta: PageServer) -> None:
    meta.feature = "NOT_ENABLED"
    meta.page(PAGE, fields=["messages"], call_routing={"ring_target": "META"}, audio_enabled=True)
    ran = await line.run("doctor")
    assert ran.status == 1
    assert ran.said["no_call_arrives"] == [f"{PAGE}: {check}" for check in (FEATURE, SUBSCRIBED, ROUTED)]
    told = await line.run("doctor", as_json=False)
    assert told.status == 1
    summary = told.said.strip().splitlines()[-1]
    assert summary.startswith(f"No call arrives: Page {PAGE} until {FEATURE} and {SUBSCRIBED} and {ROUTED}. ")


@pytest.mark.meta("7.3-routing", "7.6-subscribed")
async def test_fix_repairs_what_can_be_repaired_and_keeps_the_rest(line: Line, meta: PageServer) -> None:
    page = meta.page(PAGE, fields=["messages"], call_routing={"ring_target": "META"}, audio_enabled=False)
    fixed = await line.run("doctor", "--fix")
    assert fixed.status == 0
    assert [status_of(fixed, check) for check in (SUBSCRIBED, "other webhook fields", ROUTED, "audio")] == ["fixed"] * 4
    assert meta.posted("subscribed_apps") == [{"subscribed_fields": ",".join([*OURS, "messages"])}]
    assert page["settings"] == WELL
    again = await line.run("doctor")
    assert (again.status, again.said["counts"]["ok"] > 0, again.said["counts"]["fixed"]) == (0, True, 0)


async def test_fix_does_nothing_against_what_pages_file_wants(line: Line, meta: PageServer) -> None:
    line.wants(f'[{PAGE}]\nrouting = "meta"\naudio = false\n')
    meta.page(PAGE, fields=OURS, call_routing={"ring_target": "META"}, audio_enabled=False)
    assert (await line.run("doctor", "--fix")).status == 0
    assert meta.posted("messenger_call_settings") == []


async def test_what_a_stand_in_does_not_know_is_not_checked(line: Line, meta: PageServer) -> None:
    meta.page(PAGE)
    meta.unknown = {"page", "debug_token", "subscribed_apps", "messenger_call_settings", "subscriptions"}
    meta.unknown |= {"business_messaging_feature_status"}
    ran = await line.run("doctor", "--fix")
    assert (ran.status, remedies(ran)) == (0, {})
    assert [status_of(ran, check) for check in ("access token", FEATURE, SUBSCRIBED, ROUTED)] == ["not checked"] * 4


@pytest.mark.parametrize(
    ("token", "check"),
    [
        ({"is_valid": False}, "token's expiry"),
        ({"expires_at": 1_700_000_000}, "token's expiry"),
        ({"scopes": ["pages_show_list"]}, "permissions"),
    ],
)
async def test_what_is_wrong_with_a_token_is_told_before_it_hurts(
    line: Line, meta: PageServer, token: dict[str, Any], check: str
) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    meta.token |= token
    ran = await line.run("doctor")
    assert ran.status == 1
    assert list(remedies(ran)) == [check]


async def test_without_a_token_that_works_the_rest_waits(line: Line, meta: PageServer) -> None:
    meta.page(PAGE, fields=OURS, **WELL)["wrong"] = error(190, error_subcode=463)
    ran = await line.run("doctor")
    assert ran.status == 1
    assert "has expired" in remedies(ran)["access token"]
    assert status_of(ran, FEATURE) == "not checked"


async def test_without_the_app_s_id_the_rest_is_checked(line: Line, meta: PageServer) -> None:
    del line.environ["META_APP_ID"]
    meta.page(PAGE, fields=OURS, **WELL)
    ran = await line.run("doctor")
    assert ran.status == 0
    assert status_of(ran, "token's expiry and permissions") == status_of(ran, "webhook address", None) == "not checked"


@pytest.mark.parametrize(
    "callback", [None, {"object": "page", "callback_url": "https://a/webhook", "fields": [{"name": "messages"}]}]
)
async def test_the_app_has_to_have_webhooks_about_calls_sent(
    line: Line, meta: PageServer, callback: dict[str, Any] | None
) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    meta.callback = callback
    assert list(remedies(await line.run("doctor"))) == ["webhook address"]


async def test_clocks_that_disagree_are_told(line: Line, meta: PageServer) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    meta.ahead_s = -90
    ran = await line.run("doctor")
    assert list(remedies(ran)) == ["clock of Graph"]
    assert "90 s behind" in str(ran.said["checks"])


async def test_a_redis_that_forgets_is_told(line: Line, meta: PageServer, redis_url: str) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        try:
            ran = await line.run("doctor")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
    assert list(remedies(ran)) == ["eviction", "persistence"]


async def test_replicas_are_counted_where_they_have_to_confirm(
    line: Line, meta: PageServer, redis_url: str, tmp_path: Path
) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    line.environ["REDIS_URL"] = (
        f"{redis_url}?wait_replicas=1" if "?" not in redis_url else f"{redis_url}&wait_replicas=1"
    )
    assert status_of(await line.run("doctor"), "replicas", None) == "failed"


async def test_the_redis_of_an_up_beside_us_is_looked_at(
    line: Line, meta: PageServer, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    line.environ |= {"REDIS_URL": "", "DATA_DIR": str(valkey.home.parent)}
    assert status_of(await line.run("doctor"), "persistence", None) == "ok"
    line.environ["DATA_DIR"] = str(tmp_path)
    assert status_of(await line.run("doctor"), "Redis", None) == "not checked"


@pytest.mark.parametrize(
    ("environ", "check"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Redis"),
        ({"CALL_HANDLER": "nowhere:answer"}, "handler"),
        ({"CALL_HANDLERS": "nowhere:answer"}, "handler"),
        ({"META_VERIFY_TOKEN": ""}, "META_VERIFY_TOKEN"),
        ({"MEDIA_PORTS": "none"}, "MEDIA_PORTS"),
        ({"MEDIA_ADDRESSES": "192.0.2.1"}, "media address"),
        ({"PORT": "none"}, "settings"),
        ({"PAGE_TOKENS": ""}, "PAGE_TOKENS, PAGES_FILE"),
        ({"ICE_SERVERS": "stun:127.0.0.1:1"}, "STUN or TURN"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_wrong_here_is_told_with_its_remedy(
    line: Line, meta: PageServer, environ: dict[str, str], check: str
) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    line.environ |= environ
    ran = await line.run("doctor")
    assert ran.status == 1
    found = remedies(ran)
    assert list(found) == [check]
    assert found[check]


class StunServer(asyncio.DatagramProtocol):
    """Answers Binding requests; the first one it does not hear."""

    def __init__(self) -> None:
        self.heard = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard += 1
        if self.heard == 1:
            return
        request = parse_message(data)
        reply = Message(Method.BINDING, Class.RESPONSE, transaction_id=request.transaction_id)
        reply.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 4321)
        self.transport.sendto(bytes(reply), addr)


async def test_udp_that_gets_out_is_seen_by_the_stun_server(line: Line, meta: PageServer) -> None:
    meta.page(PAGE, fields=OURS, **WELL)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    line.environ["ICE_SERVERS"] = f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    ran = await line.run("doctor")
    transport.close()
    assert ran.status == 0
    assert "sees us at 203.0.113.7:4321" in str(ran.said["checks"])


async def test_no_token_is_ever_shown(line: Line, meta: PageServer) -> None:
    line.environ["PAGE_TOKENS"] = f"{PAGE}=EAAG-a-page-access-token"
    meta.page(PAGE, fields=OURS, **WELL)
    meta.wrong["debug_token"] = error(190, message="Malformed access token EAAG-a-page-access-token")
    ran = await line.run("doctor")
    assert ran.status == 1
    assert "EAAG" not in str(ran.said) + ran.chatter
