"""The stand-in for Meta by itself: scenarios played against a business that answers, and chaos by lot."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.chaos import Chaos, Rates
from simulator.script import BadScript, read
from simulator.server import rehearse
from simulator.settings import Settings
from tests.integration.business import (
    PAGE,
    PSID,
    SECRET,
    Business,
    Webhooks,
    accept,
    act,
    ask,
    connect,
    error,
    meta,
    ring,
)
from tests.integration.test_simulator_media import KeyedBusiness

EXAMPLES = Path(__file__).parent.parent.parent / "simulator" / "scenarios"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def answering(webhooks: Webhooks, port: int, *psids: str) -> AsyncIterator[None]:
    """Answers whoever calls, and calls these people as soon as it may."""
    lines: dict[str, Business] = {}

    async def answer() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as graph:
            while True:
                event = await webhooks._events.get()
                if event["event"] == "connect" and event["call_direction"] == "user_initiated":
                    line = lines[event["id"]] = KeyedBusiness()
                    await line.apply((await accept(graph, event["id"], await line.offer())).json()["session"])
                elif event["event"] == "media_update" and event["id"] in lines:
                    await lines[event["id"]].renegotiate(event["session"]["sdp_renegotiation"]["sdp"])

    async def call(psid: str) -> None:
        line = Business()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as graph:
            offer, placed = await line.offer(), None
            while placed is None or placed.is_error:  # not up yet, or no permission yet
                await asyncio.sleep(0.05)
                with suppress(httpx.TransportError):
                    placed = await connect(graph, offer, psid)
            lines[placed.json()["id"]] = line
            await line.apply(placed.json()["session"])

    tasks = [asyncio.create_task(answer()), *(asyncio.create_task(call(psid)) for psid in psids)]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for line in lines.values():
        await line.peer.close()


async def play(webhooks: Webhooks, file: Path, *called: str) -> tuple[list[dict[str, Any]], list[str]]:
    settings = Settings(webhook_url=webhooks.url, app_secret=SECRET, page=PAGE, port=free_port())
    said: list[str] = []
    async with answering(webhooks, settings.port, *called):
        reports = await rehearse(settings, [read(file)], said.append)
    return reports, said


def script(tmp_path: Path, *steps: str, head: str = "") -> Path:
    file = tmp_path / "scenario.toml"
    tables = "\n".join(f"[[step]]\n{step}" for step in steps)
    file.write_text(f'title = "A try"\n{head}\n{tables}\n')
    return file


@pytest.mark.parametrize("name", ["inbound", "digits", "video"])
async def test_example_passes_against_a_business_that_answers(webhooks: Webhooks, name: str) -> None:
    (report,), said = await play(webhooks, EXAMPLES / f"{name}.toml")
    assert report["passed"], said
    assert report["calls"]["anna"]["status"] == "Completed"
    assert said[-1] == "passed"


async def test_example_with_calls_of_the_business_passes(webhooks: Webhooks) -> None:
    (report,), said = await play(webhooks, EXAMPLES / "outbound.toml", "6000000000000001", "6000000000000002")
    assert report["passed"], said
    assert [step["do"] for step in report["steps"]].count("await_call") == 2


async def test_expectations_that_fail_are_told_together(webhooks: Webhooks, tmp_path: Path) -> None:
    file = script(
        tmp_path,
        'do = "call"',
        'do = "wait"\nuntil = "connected"',
        'do = "expect"\nheard_hz = 1000\noutcome = "completed"\nheard_digits = "1"\nmetrics = true\n'
        "min_frames_seen = 1",
        'do = "hang_up"',
    )
    (report,), said = await play(webhooks, file)
    missed = report["steps"][2]["missed"]
    for sentence in ("the outcome is None", "not 1000", "not '1'", "no metrics", "saw 0 pictures"):
        assert sentence in missed
    assert (report["passed"], len(report["steps"])) == (False, 4)
    assert any("MISSED" in line for line in said)


async def test_step_that_cannot_be_done_ends_the_scenario(webhooks: Webhooks, tmp_path: Path) -> None:
    file = script(tmp_path, 'do = "await_call"\nwithin_s = 0.1', 'do = "hang_up"')
    (report,), _ = await play(webhooks, file)
    assert [step["missed"] for step in report["steps"]] == ["it took too long"]
    assert not report["passed"]


async def test_message_is_awaited_by_its_text(webhooks: Webhooks, tmp_path: Path) -> None:
    file = script(tmp_path, 'do = "await_message"\ntext = "missed"', 'do = "await_message"\ntemplate = "call_prompt"')
    settings = Settings(webhook_url=webhooks.url, app_secret=SECRET, page=PAGE, port=free_port())
    playing = asyncio.create_task(rehearse(settings, [read(file)], lambda _: None))
    prompt = {"attachment": {"type": "template", "payload": {"template_type": "call_prompt"}}}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", trust_env=False) as graph:
        while not playing.done():
            for message in ({"text": "We missed your call"}, prompt):
                with suppress(httpx.TransportError):  # not up yet, or down again
                    await ask(graph, "POST", "messages", {"recipient": {"id": PSID}, "message": message})
            await asyncio.sleep(0.05)
    assert (await playing)[0]["passed"]


@pytest.mark.parametrize(
    ("steps", "head", "told"),
    [
        ([], "", "the top of the file, key step: is missing"),
        (['do = "dance"'], "", "[[step]] number 1 (dance), key do: Invalid value 'dance'"),
        (['do = "call"\ncolour = "red"'], "", "[[step]] number 1 (call), key colour: is unknown"),
        (['do = "call"', 'do = "press"\ndigits = 12'], "", "[[step]] number 2 (press), key digits: Expected `str`"),
        (['do = "call"', 'do = "wait"'], "", "[[step]] number 2 (wait), key until: is missing"),
        (['do = "hang_up"'], "", "[[step]] number 1 (hang_up): caller has no call yet"),
        (['do = "call"\nconsumer = "eve"'], "", "key consumer: there is no table [consumer.eve], only caller"),
        (['do = "call"'], "[consumer.a]\n[consumer.b]", "key consumer: is missing, and there are several: a, b"),
        (['do = "call"'], '[consumer.a]\npickup = "maybe"', "[consumer], key pickup: Invalid enum value 'maybe'"),
        (['do = "call"'], "[consumer.a]\nage = 7", "[consumer], key age: is unknown"),
        (["do = "], "", "is no TOML"),
    ],
)
def test_scenario_file_that_is_wrong_is_explained(tmp_path: Path, steps: list[str], head: str, told: str) -> None:
    with pytest.raises(BadScript) as refused:
        read(script(tmp_path, *steps, head=head))
    assert told in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("step", "status"),
    [('do = "permission"\ngranted = true', 0), ('do = "await_call"\nwithin_s = 0.1', 1), ('do = "dance"', 2)],
)
async def test_command_tells_by_its_status_whether_all_was_as_expected(
    webhooks: Webhooks, tmp_path: Path, step: str, status: int
) -> None:
    arguments = ["--webhook-url", webhooks.url, "--app-secret", SECRET, "--port", "0", "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pageline", "sim", *arguments, "--scenario", str(script(tmp_path, step))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == status, told
    if status == 2:
        assert b"[[step]] number 1 (dance)" in told
    else:
        assert json.loads(out)[0]["passed"] == (status == 0)


def test_chaos_draws_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[Any]:
        chaos = Chaos(Rates(transient=0.5, throttled=0.2), seed)
        return [(chaos.journey("connect"), chaos.fault("accept") is None) for _ in range(50)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert Chaos(None, 7).fault("accept") is None


@pytest.mark.parametrize(("text", "told"), [("wind=1", "'wind'"), ("delay=much", "delay"), ("delay=2", "from 0 to 1")])
def test_rates_that_are_none_are_explained(text: str, told: str) -> None:
    assert Rates.parse("delay=0.5,delay_s=9") == Rates(delay=0.5, delay_s=9)
    with pytest.raises(ValueError, match=told):
        Rates.parse(text)


def only(**rates: float) -> Rates:
    return Rates(**({"duplicates": 0, "disorder": 0, "delay": 0, "throttled": 0, "transient": 0} | rates))


async def test_webhooks_come_twice_and_out_of_order(webhooks: Webhooks) -> None:
    async with meta(webhooks, chaos=only(duplicates=1)) as graph:
        call_id = await ring(graph, webhooks)
        assert (await webhooks.next())["id"] == call_id
        assert webhooks.bodies[0] == webhooks.bodies[1]
        assert (await graph.get("/sim/about")).json()["chaos"]["done"]["duplicates"] == 1
    # of 20 pairs none would change places if the order were kept
    async with meta(webhooks, chaos=only(disorder=0.5), seed=3) as graph:
        for _ in range(20):
            call_id = (await graph.post("/sim/calls", json={})).json()["call_id"]
            await graph.post(f"/sim/calls/{call_id}/hangup")
        events = [await webhooks.next() for _ in range(41)]
    firsts = {event["id"]: event["event"] for event in reversed(events)}
    assert "terminate" in firsts.values()


async def test_requests_meet_limits_and_errors_and_tokens_expire_for_a_while(webhooks: Webhooks) -> None:
    async with meta(webhooks, chaos=only(transient=1)) as graph:
        assert (await error(act(graph, "terminate", "c_x"), 500))["is_transient"]
    async with meta(webhooks, chaos=only(throttled=1)) as graph:
        assert (await error(act(graph, "terminate", "c_x")))["code"] in (4, 613, 80006)
    async with meta(webhooks, chaos=only(tokens=1)) as graph:
        told = await error(act(graph, "terminate", "c_x"), 401)
        assert (told["code"], told["error_subcode"]) == (190, 463)
