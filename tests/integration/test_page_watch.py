"""The watch over how Pages stand at Meta: subscriptions that Meta took away, call settings that somebody changed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from structlog.testing import capture_logs

from ingress.health import Health
from ingress.webhook import Webhook
from shared.bus import Bus
from shared.meta.call_settings import CallSettings
from shared.meta.signature import sign
from shared.page_notes import PageNotes
from shared.settings import Settings
from shared.wire import Wire
from tests.integration.graph_server import error
from tests.integration.page_server import VERSION, PageServer
from workers.action.desk import Desk
from workers.action.graph import Graph
from workers.action.watch import Watch

PAGE: Final = "106378625516323"
WEBHOOKS: Final = Path(__file__).parent.parent / "fixtures" / "webhooks"
ALL: Final = ["calls", "call_permission_reply", "call_settings_update", "messages"]


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
async def meta() -> AsyncIterator[PageServer]:
    server = PageServer()
    await server.listen()
    yield server
    await server.close()


@pytest.fixture
async def desk(bus: Bus, meta: PageServer) -> AsyncIterator[Desk]:
    await bus.beat("one", lease_ms=60_000, capacity=1, join=True)
    async with Graph(meta.url, VERSION) as graph:
        yield Desk(bus=bus, graph=graph, tokens={PAGE: "token"})


@pytest.fixture
async def web(bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    health = Health(bus)
    app = Starlette(routes=[Route("/readyz", health.readyz), Route("/metrics", health.metrics)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web") as client:
        yield client


async def degraded(web: httpx.AsyncClient) -> list[str]:
    answered = await web.get("/readyz")
    assert answered.status_code == 200
    told: list[str] = answered.json()["degraded"]
    return told


async def adrift(web: httpx.AsyncClient) -> list[tuple[str, str]]:
    families = text_string_to_metric_families((await web.get("/metrics")).text)
    samples = [each for family in families for each in family.samples if each.name == "pageline_page_adrift"]
    return [(each.labels["page"], each.labels["about"]) for each in samples]


def watching(desk: Desk, wanted: CallSettings | None = None) -> Watch:
    """A watch to which every round is a time to look."""
    return Watch(desk, lambda _: wanted or CallSettings(), every_s=0)


# -- the subscription --------------------------------------------------------------------------------------------------


async def test_a_subscription_that_meta_took_away_is_taken_again_with_the_full_list(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    page, watch = meta.page(PAGE, fields=ALL), watching(desk)
    await watch.round()
    page["fields"] = None
    with capture_logs() as lines:
        await watch.round()
        await watch.round()

    assert sorted(page["fields"]) == sorted(ALL)
    assert len(meta.posted("subscribed_apps")) == 1
    assert [line["event"] for line in lines] == ["subscription.lost", "subscription.restored"]
    (told,) = await degraded(web)
    assert PAGE in told
    assert "subscribed again" in told
    assert await adrift(web) == [(PAGE, "subscription")]


async def test_what_a_former_worker_saw_counts(desk: Desk, meta: PageServer) -> None:
    page = meta.page(PAGE, fields=ALL)
    await watching(desk).round()
    page["fields"] = ["messages"]
    await desk.bus.wire.call("DEL", *await desk.bus.wire.call("KEYS", "*watch"))
    await watching(desk).round()
    assert sorted(page["fields"]) == sorted(ALL)


@pytest.mark.parametrize("fields", [None, ["messages"]])
async def test_a_page_that_was_never_seen_subscribed_is_left_alone(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient, fields: list[str] | None
) -> None:
    meta.page(PAGE, fields=fields)
    watch = watching(desk)
    await watch.round()
    await watch.round()
    assert meta.posted("subscribed_apps") == []
    assert await degraded(web) == []


async def test_while_it_cannot_be_taken_again_it_is_tried_on_and_shown(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    page, watch = meta.page(PAGE, fields=ALL), watching(desk)
    await watch.round()
    page["fields"] = []
    meta.wrong["subscribed_apps"] = error(190, error_subcode=463)
    with capture_logs() as lines:
        await watch.round()
        await watch.round()
    assert [line["event"] for line in lines] == ["watch.untold"], "once, and not in every round"
    del meta.wrong["subscribed_apps"]
    await watch.round()
    assert "calls" in page["fields"]
    assert len(await degraded(web)) == 1


async def test_a_page_that_is_ours_no_more_is_no_longer_spoken_of(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    meta.page(PAGE, fields=ALL)
    await PageNotes(desk.bus.wire).note("another", "settings", "somebody else's by now")
    await watching(desk).round()
    assert await degraded(web) == []


async def test_what_graph_says_here_is_no_matter_of_the_breaker(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    meta.page(PAGE)
    meta.wrong = {"subscribed_apps": error(190), "messenger_call_settings": error(10)}
    watch = watching(desk, CallSettings(icon=True))
    for _ in range(6):
        await watch.round()
    assert await desk.breaker.troubles() == []
    assert await degraded(web) == []


async def test_a_page_whose_edges_graph_does_not_know_is_left_alone_in_silence(desk: Desk, meta: PageServer) -> None:
    meta.unknown = {"subscribed_apps", "messenger_call_settings"}
    watch = watching(desk, CallSettings(icon=True))
    with capture_logs() as lines:
        await watch.round()
        await watch.round()
    assert lines == []
    assert len(meta.requests) == 2, "each path was asked once"


async def test_one_worker_of_a_deployment_looks(desk: Desk, meta: PageServer) -> None:
    meta.page(PAGE, fields=ALL)
    first, second = watching(desk), watching(desk)
    for _ in range(3):
        await first.round()
        await second.round()
    assert len(meta.requests) == 3


async def test_graph_is_asked_no_more_often_than_was_set(desk: Desk, meta: PageServer) -> None:
    meta.page(PAGE, fields=ALL)
    watch = Watch(desk, lambda _: CallSettings(), every_s=300)
    for _ in range(3):
        await watch.round()
    assert len(meta.requests) == 1


async def test_many_pages_are_looked_at_a_few_at_a_time(desk: Desk, meta: PageServer) -> None:
    pages = [str(number) for number in range(25)]
    for page in pages:
        meta.page(page, fields=ALL)
    desk.tokens = dict.fromkeys(pages, "token")
    watch = Watch(desk, lambda _: CallSettings(), every_s=300)
    looked = []
    for _ in range(4):
        await watch.round()
        looked.append(len(meta.requests))
    assert looked == [10, 20, 25, 25]


async def test_a_page_near_its_limit_is_not_looked_at(desk: Desk, meta: PageServer) -> None:
    meta.page(PAGE, fields=ALL)
    await desk.breaker.pause(PAGE, for_s=60)
    await watching(desk).round()
    assert meta.requests == []


# -- call settings -----------------------------------------------------------------------------------------------------


async def told_by_webhook(bus: Bus, *, sent_s: int, **settings: object) -> int:
    entry = {"id": PAGE, "time": sent_s, "call_settings": settings}
    body = json.dumps({"object": "page", "entry": [entry]}).encode()
    webhook = Webhook(bus, Settings(meta_app_secret="s", meta_verify_token="v"))
    return await webhook.take(body, sign(b"s", body))


@pytest.mark.meta("7.6-webhook")
async def test_a_change_that_a_webhook_tells_of_is_drift_and_logged_once(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    meta.unknown = {"subscribed_apps", "messenger_call_settings"}  # so that nothing is known but what webhooks tell
    watch = watching(desk, CallSettings(routing="PARTNERS", icon=True))
    with capture_logs() as lines:
        assert await told_by_webhook(desk.bus, sent_s=1_671_644_824, call_routing="META", icon_enabled=True) == 200
        await watch.round()
        await watch.round()
    (told,) = await degraded(web)
    assert "routing: meta, wanted partners" in told
    assert "pageline settings apply" in told
    assert [line["event"] for line in lines] == ["settings.drifted"]
    assert await adrift(web) == [(PAGE, "settings")]

    await told_by_webhook(desk.bus, sent_s=1_671_644_825, call_routing="PARTNERS", icon_enabled=True)
    await watch.round()
    assert await degraded(web) == []


async def test_each_further_change_is_logged(desk: Desk, meta: PageServer) -> None:
    meta.unknown = {"subscribed_apps", "messenger_call_settings"}
    watch = watching(desk, CallSettings(routing="PARTNERS", icon=True))
    with capture_logs() as lines:
        for second, icon in enumerate([True, False]):
            await told_by_webhook(desk.bus, sent_s=second + 1, call_routing="META", icon_enabled=icon)
            await watch.round()
    assert [len(line["changes"]) for line in lines] == [1, 2]


async def test_a_webhook_that_comes_late_does_not_count(desk: Desk, web: httpx.AsyncClient) -> None:
    notes = PageNotes(desk.bus.wire)
    await told_by_webhook(desk.bus, sent_s=2_000, call_routing="PARTNERS")
    await told_by_webhook(desk.bus, sent_s=1_000, call_routing="META")
    assert await notes.reported(PAGE) == CallSettings(routing="PARTNERS")


async def test_the_sample_is_kept_before_it_is_answered(bus: Bus) -> None:
    body = (WEBHOOKS / "messenger-call-settings-update.json").read_bytes()
    webhook = Webhook(bus, Settings(meta_app_secret="s", meta_verify_token="v"))
    assert await webhook.take(body, sign(b"s", body)) == 200
    reported = await PageNotes(bus.wire).reported(PAGE)
    assert reported is not None
    assert (reported.routing, reported.audio) == ("PARTNERS", True)


@pytest.mark.meta("7.2-elsewhere")
async def test_a_change_that_no_webhook_told_of_is_seen_at_meta(
    desk: Desk, meta: PageServer, web: httpx.AsyncClient
) -> None:
    meta.page(PAGE, fields=ALL, audio_enabled=False)
    await watching(desk, CallSettings(audio=True)).round()
    (told,) = await degraded(web)
    assert "audio: off, wanted on" in told


async def test_a_page_of_which_nothing_is_wanted_is_not_asked_for_its_settings(desk: Desk, meta: PageServer) -> None:
    meta.page(PAGE, fields=ALL)
    await watching(desk).round()
    assert [request.path.split("/")[-1] for request in meta.requests] == ["subscribed_apps"]


async def test_the_watch_outlives_an_outage_of_redis(meta: PageServer, redis_url: str) -> None:
    page = meta.page(PAGE, fields=ALL)
    async with Wire.from_url(redis_url) as wire, Graph(meta.url, VERSION) as graph:
        desk = Desk(bus=Bus(wire), graph=graph, tokens={PAGE: "token"})
        keeping = asyncio.create_task(watching(desk).keep())
        async with asyncio.timeout(10):
            while not meta.requests:  # noqa: ASYNC110 it is the other side that was asked
                await asyncio.sleep(0.05)
            await wire.call("CLIENT", "KILL", "ID", wire.client_id or 0, "SKIPME", "no")
            page["fields"] = []
            while not page["fields"]:  # noqa: ASYNC110 it is the other side that was asked
                await asyncio.sleep(0.05)
        keeping.cancel()
