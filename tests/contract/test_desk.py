"""The desk's steps, on a real Valkey and on the simulation's: who waits, who takes, and what nobody has to clear up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus import PREFIX, Bus
from shared.calls import agent_facts, facts
from shared.desk.accounts import TRIES, Account, Accounts, BadAccount, is_password
from shared.desk.floor import Floor, Standing
from shared.tries import Tries
from shared.wire import Wire

LEASE_MS: Final = 60_000


@pytest.fixture
async def bus(wire_to: Callable[[], Wire]) -> AsyncIterator[Bus]:
    async with wire_to() as wire:
        bus = Bus(wire)
        await bus.beat("one", lease_ms=LEASE_MS, capacity=100, join=True)
        yield bus


@pytest.fixture
def floor(bus: Bus) -> Floor:
    return Floor(bus)


async def ring(bus: Bus, call_id: str) -> int:
    """Let a call arrive, and return the epoch under which a worker has it."""
    await bus.route(call_id, arrived(bus))
    claims = [entry.fact for entry in await bus.read_log(call_id) if isinstance(entry.fact, facts.Claimed)]
    return claims[-1].epoch


def arrived(bus: Bus) -> facts.Arrived:
    now_ms = bus.now_ms()
    return facts.Arrived(
        page="1", consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )


async def wait(
    bus: Bus, floor: Floor, call_id: str, queue: str = "sales", *, agent: str = "", ahead: bool = False
) -> int:
    epoch = await ring(bus, call_id)
    assert await floor.wait(call_id, epoch, queue, agent=agent, ahead=ahead, page="1", caller="…2") > 0
    return epoch


async def sit(floor: Floor, agent: str, *queues: str, supervisor: bool = False) -> None:
    await floor.enter(agent, f"conn-{agent}", queues=queues or ("sales",), supervisor=supervisor)


async def waiting(floor: Floor) -> list[str]:
    return [each.call for each in (await floor.look()).waiting]


async def asked(bus: Bus, call_id: str) -> list[agent_facts.AgentAsked]:
    return [entry.fact for entry in await bus.read_log(call_id) if isinstance(entry.fact, agent_facts.AgentAsked)]


# -- who waits ---------------------------------------------------------------------------------------------------------


async def test_calls_wait_in_the_order_in_which_they_came_but_for_one_that_goes_ahead(bus: Bus, floor: Floor) -> None:
    for call_id in ("c_1", "c_2"):
        await wait(bus, floor, call_id)
    await wait(bus, floor, "c_3", ahead=True)
    assert await waiting(floor) == ["c_3", "c_1", "c_2"]
    assert [(await floor.standing(call_id)).position for call_id in ("c_3", "c_1", "c_2")] == [1, 2, 3]


async def test_a_call_that_goes_on_waiting_keeps_its_turn(bus: Bus, floor: Floor) -> None:
    epoch = await ring(bus, "c_1")
    since_ms = await floor.wait("c_1", epoch, "sales")
    await wait(bus, floor, "c_2")
    assert await floor.wait("c_1", epoch, "sales", since_ms=since_ms) == since_ms
    assert await waiting(floor) == ["c_1", "c_2"]


async def test_positions_are_those_of_a_queue(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1", "support")
    await wait(bus, floor, "c_2", "sales")
    assert await floor.standing("c_2") == Standing(1, staffed=False)
    await sit(floor, "ada", "sales")
    assert await floor.standing("c_2") == Standing(1, staffed=True)
    assert await floor.standing("c_1") == Standing(1, staffed=False)


async def test_who_is_given_a_call_has_to_be_there(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1", agent="bob")
    await sit(floor, "ada", "sales")
    assert not (await floor.standing("c_1")).staffed
    await sit(floor, "bob", "support")
    assert (await floor.standing("c_1")).staffed


async def test_a_call_of_a_worker_that_died_waits_no_longer(bus: Bus, floor: Floor) -> None:
    epoch = await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    await bus.beat("one", lease_ms=0)
    assert await waiting(floor) == []
    assert await floor.wait("c_1", epoch, "sales") == 0
    assert (await floor.take("ada", "conn-ada", "c_1", "l_1")).verdict == "nobody"


async def test_a_call_that_went_to_another_worker_waits_only_where_that_one_says_so(bus: Bus, floor: Floor) -> None:
    epoch = await wait(bus, floor, "c_1")
    await bus.beat("two", lease_ms=LEASE_MS, capacity=10, join=True)
    await bus.beat("one", lease_ms=0)
    await bus.beat("two", lease_ms=LEASE_MS, capacity=10)
    assert await waiting(floor) == []
    assert await floor.wait("c_1", epoch, "sales") == 0
    assert await floor.wait("c_1", epoch + 1, "sales") > 0
    assert await waiting(floor) == ["c_1"]


async def test_a_closed_call_neither_waits_nor_talks(bus: Bus, floor: Floor) -> None:
    epoch = await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    assert (await floor.take("ada", "conn-ada", "c_1", "l_1")).verdict == "taken"
    await bus.done("c_1", "one", epoch, "completed")
    assert (await floor.look()).talks == ()
    await wait(bus, floor, "c_2")
    assert (await floor.take("ada", "conn-ada", None, "l_2")).call == "c_2"


# -- who takes ---------------------------------------------------------------------------------------------------------


async def test_whoever_takes_a_call_has_it_and_its_worker_is_told(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    taken = await floor.take("ada", "conn-ada", None, "l_1")
    assert (taken.verdict, taken.call, taken.queue, taken.page, taken.caller) == ("taken", "c_1", "sales", "1", "…2")
    (fact,) = await asked(bus, "c_1")
    assert (fact.agent, fact.leg, fact.queue, fact.listens) == ("ada", "l_1", "sales", False)
    look = await floor.look()
    assert (look.waiting, [(talk.agent, talk.leg, talk.state) for talk in look.talks]) == (
        (),
        [("ada", "l_1", "connecting")],
    )
    assert await floor.standing("c_1") == Standing(0, staffed=True)
    assert not await floor.withdraw("c_1"), "it is too late for that"


async def test_an_agent_has_one_call_at_a_time_and_only_of_its_queues(bus: Bus, floor: Floor) -> None:
    for call_id, queue in (("c_1", "sales"), ("c_2", "sales"), ("c_3", "support")):
        await wait(bus, floor, call_id, queue)
    await sit(floor, "ada", "sales")
    assert (await floor.take("ada", "conn-ada", "c_3", "l_1")).verdict == "forbidden"
    assert (await floor.take("ada", "conn-ada", "c_2", "l_1")).verdict == "taken"
    assert (await floor.take("ada", "conn-ada", "c_1", "l_2")).verdict == "busy"
    assert (await floor.take("ada", "another", "c_1", "l_2")).verdict == "gone"


async def test_an_agent_takes_its_own_call_anew_over_another_leg(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    await floor.take("ada", "conn-ada", None, "l_1")
    assert (await floor.take("ada", "conn-ada", None, "l_2")).verdict == "busy"
    assert (await floor.take("ada", "conn-ada", "c_1", "l_3")).verdict == "taken"
    assert [fact.leg for fact in await asked(bus, "c_1")] == ["l_1", "l_3"]
    assert [(talk.leg, talk.state) for talk in (await floor.look()).talks] == [("l_3", "connecting")]


async def test_a_call_that_is_given_to_an_agent_is_nobody_elses_and_comes_first(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1")
    await wait(bus, floor, "c_2", agent="bob")
    for agent in ("ada", "bob"):
        await sit(floor, agent)
    assert (await floor.take("ada", "conn-ada", "c_2", "l_1")).verdict == "forbidden"
    assert (await floor.take("bob", "conn-bob", None, "l_2")).call == "c_2"
    assert (await floor.take("ada", "conn-ada", None, "l_3")).call == "c_1"


async def test_only_a_supervisor_listens_in_and_only_to_who_talks(bus: Bus, floor: Floor) -> None:
    epoch = await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    await sit(floor, "sue", supervisor=True)
    assert (await floor.listen("sue", "conn-sue", "c_1", "l_1")).verdict == "nobody"
    await floor.take("ada", "conn-ada", "c_1", "l_2")
    await floor.note("c_1", epoch, "l_2", "live")
    assert (await floor.listen("ada", "conn-ada", "c_1", "l_3")).verdict == "busy"
    assert (await floor.listen("sue", "conn-sue", "c_1", "l_4")).verdict == "taken"
    assert [fact.listens for fact in await asked(bus, "c_1")] == [False, True]


async def test_a_talk_is_over_by_the_word_of_its_own_leg_only(bus: Bus, floor: Floor) -> None:
    epoch = await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    await floor.take("ada", "conn-ada", "c_1", "l_1")
    await floor.note("c_1", epoch, "l_0", "")
    await floor.note("c_1", epoch + 1, "l_1", "")
    await floor.note("c_1", epoch, "l_1", "held")
    assert [talk.state for talk in (await floor.look()).talks] == ["held"]
    await floor.note("c_1", epoch, "l_1", "")
    assert (await floor.look()).talks == ()


@pytest.mark.parametrize("wanted", [None, "c_1"])
async def test_of_many_who_take_at_once_one_has_the_call(
    wire_to: Callable[[], Wire], bus: Bus, floor: Floor, wanted: str | None
) -> None:
    await wait(bus, floor, "c_1")
    async with wire_to() as other:
        floors = floor, Floor(Bus(other))
        agents = [f"agent{number}" for number in range(10)]
        for agent in agents:
            await sit(floor, agent)
        taken = await asyncio.gather(
            *(floors[n % 2].take(agent, f"conn-{agent}", wanted, f"l_{n}") for n, agent in enumerate(agents))
        )
    assert sorted(each.verdict for each in taken) == ["nobody"] * 9 + ["taken"]
    assert len(await asked(bus, "c_1")) == 1


@pytest.mark.parametrize("wire_to", ["memory"], indirect=True)
async def test_whatever_happens_no_call_has_two_agents_and_no_agent_two_calls(wire_to: Callable[[], Wire]) -> None:
    steps = st.lists(
        st.tuples(
            st.sampled_from(("wait", "ahead", "give", "take", "any", "part", "lose", "close", "withdraw")),
            st.integers(0, 3),
            st.integers(0, 2),
        ),
        max_size=30,
    )
    lives = 0

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(happened=steps)
    def check(happened: list[tuple[str, int, int]]) -> None:
        asyncio.run(lived(happened))

    async def lived(happened: list[tuple[str, int, int]]) -> None:
        nonlocal lives
        lives += 1
        async with wire_to() as wire:
            bus = Bus(wire)
            floor = Floor(bus)
            await bus.beat("one", lease_ms=LEASE_MS, capacity=10_000, join=True)
            epochs = [await ring(bus, f"c_{lives}_{call}") for call in range(4)]
            for agent in range(3):
                await sit(floor, f"agent{agent}")
            for number, (step, call, agent) in enumerate(happened):
                await take_step(bus, floor, step, f"c_{lives}_{call}", epochs[call], f"agent{agent}", number)
                look = await floor.look()
                talks = [talk for talk in look.talks if talk.call.startswith(f"c_{lives}_")]
                assert len({talk.agent for talk in talks}) == len(talks)
                assert not {talk.call for talk in talks} & {each.call for each in look.waiting}
            for call in range(4):
                said = await asked(bus, f"c_{lives}_{call}")
                assert len({fact.leg for fact in said}) == len(said)
            for call in range(4):
                await bus.done(f"c_{lives}_{call}", "one", epochs[call], "completed")

    await asyncio.to_thread(check)


async def take_step(bus: Bus, floor: Floor, step: str, call: str, epoch: int, agent: str, number: int) -> None:
    look = await floor.look()
    match step:
        case "wait" | "ahead":
            await floor.wait(call, epoch, "sales", ahead=step == "ahead")
        case "give":
            await floor.wait(call, epoch, "sales", agent=agent)
        case "take" | "any":
            before = {each.call for each in look.waiting}
            taken = await floor.take(agent, f"conn-{agent}", call if step == "take" else None, f"l_{number}")
            own = {talk.call for talk in look.talks if talk.agent == agent}
            assert taken.verdict != "taken" or taken.call in (own or before)
        case "part":
            for talk in look.talks:
                if talk.call == call:
                    await floor.note(call, epoch, talk.leg, "")
        case "lose":
            await floor.leave(agent, f"conn-{agent}")
            await sit(floor, agent)
        case "withdraw":
            await floor.withdraw(call)
        case _:
            pass


# -- seats -------------------------------------------------------------------------------------------------------------


async def test_a_page_that_is_not_heard_of_leaves_its_seat(bus: Bus, floor: Floor) -> None:
    await sit(floor, "ada")
    assert [seat.agent for seat in (await floor.look()).seats] == ["ada"]
    await bus.wire.call("ZADD", f"{PREFIX}desk:seats", 1, "ada")  # its lease is over
    assert (await floor.look()).seats == ()
    assert await floor.keep("ada", "conn-ada") == "gone"


async def test_a_page_that_left_is_seen_no_more_and_may_come_back_before_callers_are_sent_away(
    bus: Bus, floor: Floor
) -> None:
    await wait(bus, floor, "c_1")
    await sit(floor, "ada")
    await floor.keep("ada", "conn-ada", ready=True)
    await floor.leave("ada", "conn-ada")
    assert (await floor.look()).seats == ()
    assert await floor.keep("ada", "conn-ada") == "gone"
    assert (await floor.take("ada", "conn-ada", "c_1", "l_1")).verdict == "gone"
    assert (await floor.standing("c_1")).staffed
    await sit(floor, "ada")
    assert [seat.ready for seat in (await floor.look()).seats] == [True]


async def test_the_page_opened_last_has_the_seat_and_whether_the_agent_is_ready_stays(floor: Floor) -> None:
    await sit(floor, "ada")
    assert await floor.keep("ada", "conn-ada", ready=True) == "kept"
    await floor.enter("ada", "another", queues=("sales",), supervisor=False)
    assert await floor.keep("ada", "conn-ada", ready=False) == "elsewhere"
    await floor.leave("ada", "conn-ada")
    (seat,) = (await floor.look()).seats
    assert (seat.ready, seat.queues, seat.supervisor) == (True, ("sales",), False)


@pytest.mark.parametrize("wire_to", ["valkey"], indirect=True)
async def test_news_come_of_the_desk_and_of_the_calls_that_are_followed(bus: Bus, floor: Floor) -> None:
    await wait(bus, floor, "c_1")
    told = await floor.news("0-0", {"c_1": 1}, within_s=2)
    assert [type(entry.fact).__name__ for entry in told.logs["c_1"]] == ["Claimed"]
    nothing = await floor.news(told.mark, {"c_1": 2}, within_s=0.01)
    assert (nothing.mark, nothing.logs) == (told.mark, {})
    await floor.poke()
    assert (await floor.news(told.mark, {}, within_s=2)).mark != told.mark


# -- accounts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def accounts(redis_url: str) -> AsyncIterator[Accounts]:
    async with Wire.from_url(redis_url) as wire:
        yield Accounts(wire)


PASSWORD: Final = "correct horse"


async def made(accounts: Accounts, name: str = "ada") -> Account:
    return await accounts.add(name, PASSWORD, queues=("sales",), supervisor=False)


async def test_an_agent_is_known_by_the_password_only(accounts: Accounts) -> None:
    ada = await made(accounts)
    assert (await accounts.all(), await accounts.any()) == ([ada], True)
    assert PASSWORD not in repr(ada)
    assert is_password(ada, PASSWORD)
    assert not is_password(ada, "wrong horse")
    assert not is_password(None, PASSWORD)


async def test_a_session_is_over_with_the_password_it_was_begun_with_or_with_the_agent(accounts: Accounts) -> None:
    ada = await made(accounts)
    token = await accounts.open_session(ada)
    assert await accounts.of_session(token) == ada
    assert await accounts.of_session("guessed") is None
    await accounts.set_password("ada", "battery staple")
    assert await accounts.of_session(token) is None
    again = await accounts.open_session((await accounts.all())[0])
    await accounts.close_session(again)
    assert await accounts.of_session(again) is None
    await accounts.remove("ada")
    assert await accounts.all() == []


@pytest.mark.parametrize(
    ("name", "password", "queue"),
    [("", PASSWORD, "sales"), ("a b", PASSWORD, "sales"), ("bob", "short", "sales"), ("bob", PASSWORD, "a,b")],
)
async def test_what_cannot_be_used_is_refused_with_the_reason(
    accounts: Accounts, name: str, password: str, queue: str
) -> None:
    with pytest.raises(BadAccount, match=r"letters|characters"):
        await accounts.add(name, password, queues=(queue,), supervisor=False)
    assert not await accounts.any()


async def test_there_is_one_agent_of_a_name(accounts: Accounts) -> None:
    await made(accounts)
    with pytest.raises(BadAccount, match="already"):
        await made(accounts)
    with pytest.raises(BadAccount, match="no agent bob"):
        await accounts.remove("bob")


@pytest.fixture
async def tries(redis_url: str) -> AsyncIterator[Tries]:
    async with Wire.from_url(redis_url) as wire:
        yield Tries(wire, "desk")


async def test_who_tries_too_often_has_to_wait(tries: Tries) -> None:
    most = {"name ada": TRIES, "from 127.0.0.1": 2 * TRIES}
    for _ in range(TRIES):
        assert not await tries.too_many(most)
    assert await tries.too_many(most)
    assert not await tries.too_many({"name bob": TRIES, "from 127.0.0.1": 2 * TRIES})
    await tries.forget(["name ada"])
    assert not await tries.too_many({"name ada": TRIES})
