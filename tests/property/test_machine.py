"""What is true of `transition` whatever happens, and of calls in a world with owners, deaths, a fence and a Graph.

Three parts: the properties, each a sentence over the steps of one life; lives to check them on (any facts in any order,
and a modelled world); and mutants of the machine, each of which one property has to reject.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Final, NamedTuple, cast, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from shared.calls import agent_facts, changing, ending, facts, machine, orders, placing, state

Transition = Callable[[state.Call, facts.Fact], tuple[state.Call, tuple[orders.Order, ...]]]

FAREWELLS: Final = ("reject", "terminate")
NOON_MS: Final = 1_700_000_000_000


class Step(NamedTuple):
    """One fact and what it did."""

    before: state.Call
    fact: facts.Fact
    after: state.Call
    orders: tuple[orders.Order, ...]


@dataclass
class Life:
    """A call as it was lived: the machine under test and every step it took."""

    transition: Transition
    steps: list[Step] = field(default_factory=list)

    @property
    def call(self) -> state.Call:
        return self.steps[-1].after if self.steps else state.Call()

    @property
    def log(self) -> list[facts.Fact]:
        return [step.fact for step in self.steps]

    def take(self, fact: facts.Fact) -> Step:
        before = self.call
        self.steps.append(Step(before, fact, *self.transition(before, fact)))
        return self.steps[-1]

    def ordered(self, kind: type[orders.Order]) -> list[tuple[Step, orders.Order]]:
        return [(step, order) for step in self.steps for order in step.orders if isinstance(order, kind)]

    def posted(self, *actions: str) -> list[tuple[Step, orders.PostAction]]:
        posts = [(step, order) for step, order in self.ordered(orders.PostAction)]
        return [
            (step, order) for step, order in posts if isinstance(order, orders.PostAction) and order.action in actions
        ]


def fold(transition: Transition, log: Iterable[facts.Fact], call: state.Call | None = None) -> state.Call:
    call = call or state.Call()
    for fact in log:
        call, _ = transition(call, fact)
    return call


# -- the properties ----------------------------------------------------------------------------------------------------


def accept_is_ordered_at_most_once_per_epoch(life: Life) -> None:
    epochs = [step.after.epoch for step, _ in life.posted("accept")]
    assert len(epochs) == len(set(epochs))


def accept_is_never_ordered_after_it_was_granted(life: Life) -> None:
    assert not any(step.before.granted for step, _ in life.posted("accept"))


def a_call_whose_accept_was_granted_never_rings_again(life: Life) -> None:
    """Its successor cannot know what Meta made of it, and ends the call."""
    for step in life.steps:
        if step.before.granted and step.before.phase in (
            state.Phase.ACCEPTING,
            state.Phase.CONNECTING,
            state.Phase.LIVE,
        ):
            assert step.after.phase is not state.Phase.RINGING


def one_goodbye_is_said_per_epoch(life: Life) -> None:
    """A reject becomes a terminate when it turns out that an accept was let through meanwhile; nothing else doubles."""
    by_epoch: dict[int, list[Step]] = {}
    for step, order in life.posted(*FAREWELLS):
        assert step.after.farewell == order.action, "what is posted is what is owed"
        by_epoch.setdefault(step.after.epoch, []).append(step)
    for first, *more in by_epoch.values():
        assert len(more) <= 1
        for second in more:
            assert (first.after.farewell, second.after.farewell) == FAREWELLS
            assert isinstance(second.fact, facts.ActionGranted)


def a_reject_that_an_accept_overtook_becomes_a_terminate(life: Life) -> None:
    for step in life.steps:
        granted = isinstance(step.fact, facts.ActionGranted) and step.fact.action == "accept"
        if granted and step.before.farewell == "reject" and step.fact.epoch in (0, step.before.epoch):
            assert step.after.farewell == "terminate"


def a_conversation_that_meta_did_not_end_is_terminated_there(life: Life) -> None:
    for step in life.steps:
        ends = (step.before.phase, step.after.phase) == (state.Phase.LIVE, state.Phase.ENDING)
        if ends and not isinstance(step.fact, facts.Terminated):
            assert step.after.farewell == "terminate"


def an_answer_proves_that_the_accept_was_granted(life: Life) -> None:
    """Whatever became of the grant's own fact; a call that Meta answered is never offered again, and never rejected."""
    answered = {state.Phase.CONNECTING, state.Phase.LIVE}
    assert all(step.after.granted for step in life.steps if step.after.phase in answered)


def an_unanswered_call_always_has_a_deadline(life: Life) -> None:
    waiting = {state.Phase.RINGING, state.Phase.ACCEPTING, state.Phase.CONNECTING, state.Phase.ENDING}
    assert all(step.after.deadline_ms is not None for step in life.steps if step.after.phase in waiting)


def a_deadline_that_passes_ends_the_call(life: Life) -> None:
    for step in life.steps:
        due = step.before.deadline_ms
        if (
            due is None
            or not isinstance(step.fact, facts.DeadlinePassed)
            or step.fact.epoch not in (0, step.before.epoch)
        ):
            continue
        if step.fact.deadline_ms >= due and step.before.media_out:
            assert (step.after.phase, step.after.media_out) == (state.Phase.LIVE, False), "a change is given up alone"
        elif step.fact.deadline_ms >= due:
            assert step.after.phase in (state.Phase.ENDING, state.Phase.ENDED)
            assert step.after.closing or step.before.phase is not state.Phase.ENDING


def every_call_ends_in_exactly_one_outcome(life: Life) -> None:
    outcomes = {step.after.outcome for step in life.steps if step.after.outcome is not None}
    assert len(outcomes) <= 1
    assert {
        order.outcome for _, order in life.ordered(orders.CloseCall) if isinstance(order, orders.CloseCall)
    } <= outcomes
    for step in life.steps:
        assert (step.after.outcome is not None) == (step.after.phase in (state.Phase.ENDING, state.Phase.ENDED))


def the_log_alone_rebuilds_the_state(life: Life) -> None:
    """Folded anew, folded from the middle on, and folded after a journey through bytes."""
    log = life.log
    assert fold(life.transition, log) == life.call
    middle = len(log) // 2
    assert fold(life.transition, log[middle:], fold(life.transition, log[:middle])) == life.call
    written = [msgspec.json.encode(fact) for fact in log]
    assert fold(life.transition, (msgspec.json.decode(line, type=facts.CallFact) for line in written)) == life.call


def a_repeated_fact_does_nothing(life: Life) -> None:
    for step in life.steps:
        again, todo = life.transition(step.after, step.fact)
        assert again == step.after
        assert not todo


def facts_of_an_epoch_that_is_over_change_nothing(life: Life) -> None:
    for step in life.steps:
        claim = isinstance(step.fact, facts.Claimed)
        over = step.fact.epoch <= step.before.epoch if claim else step.fact.epoch not in (0, step.before.epoch)
        if over:
            assert (step.after, step.orders) == (step.before, ())


def nothing_is_ordered_after_the_end(life: Life) -> None:
    for step in life.steps:
        if step.before.phase is state.Phase.ENDED:
            assert (step.after, step.orders) == (step.before, ())


def a_call_is_closed_once_per_epoch_when_nothing_runs_and_nothing_is_owed(life: Life) -> None:
    closing = [step for step, _ in life.ordered(orders.CloseCall)]
    for step in closing:
        assert not step.after.handler_running
        assert not step.after.leg_open
        assert step.after.farewell is None
    epochs = [step.after.epoch for step in closing]
    assert len(epochs) == len(set(epochs))


ALWAYS: Final[tuple[Callable[[Life], None], ...]] = (
    accept_is_ordered_at_most_once_per_epoch,
    accept_is_never_ordered_after_it_was_granted,
    a_call_whose_accept_was_granted_never_rings_again,
    one_goodbye_is_said_per_epoch,
    a_reject_that_an_accept_overtook_becomes_a_terminate,
    a_conversation_that_meta_did_not_end_is_terminated_there,
    an_answer_proves_that_the_accept_was_granted,
    an_unanswered_call_always_has_a_deadline,
    a_deadline_that_passes_ends_the_call,
    every_call_ends_in_exactly_one_outcome,
    the_log_alone_rebuilds_the_state,
    a_repeated_fact_does_nothing,
    facts_of_an_epoch_that_is_over_change_nothing,
    nothing_is_ordered_after_the_end,
    a_call_is_closed_once_per_epoch_when_nothing_runs_and_nothing_is_owed,
)


# -- any facts in any order --------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """A fact before the log has stamped it; none: whatever usually comes next; a number: that fact again."""

    fact: facts.Fact | int | None
    by: str
    """`nobody`, the `owner`, a `former` owner, or, for a claim, the `next` one."""
    after_ms: int


ARMED: Final = -1
"""As the deadline of a `DeadlinePassed`: the one that is armed."""

_sdp = st.sampled_from(("v=0 one", "v=0 two"))
_leg = st.sampled_from(("l_1", "l_2"))
_how = st.sampled_from(("returned", "raised", "cancelled"))
_arrivals = st.builds(
    facts.Arrived,
    page=st.just("1"),
    consumer=st.just("2"),
    direction=st.sampled_from(("user_initiated", "business_initiated")),
    sent_at_ms=st.sampled_from((NOON_MS, NOON_MS - 300_000)),
    answer_by_ms=st.sampled_from((NOON_MS + 55_000, NOON_MS - 245_000)),
)
_failures = st.builds(
    facts.ActionFailed,
    action=st.sampled_from(("accept", *FAREWELLS, "media_update")),
    cause=st.sampled_from(("graph", "unreachable", "too_late", "no_token", "conflict")),
    code=st.sampled_from((None, 100, 2018396)),
    ambiguous=st.booleans(),
)
HAPPENINGS: Final[dict[type[facts.Fact], st.SearchStrategy[facts.Fact]]] = {
    facts.Arrived: _arrivals,
    facts.StatusChanged: st.builds(facts.StatusChanged, status=st.just("ringing")),
    facts.MediaChanged: st.builds(facts.MediaChanged, version=st.integers(0, 3), sdp=_sdp),
    facts.Terminated: st.builds(
        facts.Terminated, status=st.sampled_from(("completed", "failed")), duration_s=st.sampled_from((None, 0, 9))
    ),
    facts.Unrecognized: st.builds(facts.Unrecognized, event=st.just("hold"), body=st.just("{}")),
    facts.Claimed: st.builds(facts.Claimed, worker=st.sampled_from(("one", "two"))),
    facts.HandedBack: st.builds(facts.HandedBack, worker=st.just("one")),
    facts.LogRestored: st.builds(facts.LogRestored),
    facts.DeadlinePassed: st.builds(facts.DeadlinePassed, deadline_ms=st.sampled_from((ARMED, ARMED, NOON_MS - 1))),
    facts.ActionGranted: st.builds(facts.ActionGranted, action=st.sampled_from(("accept", "terminate"))),
    facts.Closed: st.builds(facts.Closed, outcome=st.just("")),
    facts.OfferMade: st.builds(facts.OfferMade, sdp=_sdp),
    facts.LegConnected: st.builds(facts.LegConnected, setup_ms=st.just(80)),
    facts.LegFailed: st.builds(facts.LegFailed, reason=st.sampled_from(("ice", facts.PEER_CLOSED))),
    facts.LegClosed: st.builds(facts.LegClosed),
    facts.RejectAsked: st.builds(facts.RejectAsked, reason=st.just("busy")),
    facts.HangUpAsked: st.builds(facts.HangUpAsked, by=st.sampled_from(("handler", "operator", "drain"))),
    facts.RecordingStarted: st.builds(facts.RecordingStarted, path=st.just("a.wav")),
    facts.HandlerStarted: st.builds(facts.HandlerStarted, handler=st.just("reception:answer")),
    facts.RecordingStored: st.just(facts.RecordingStored(path="s3://calls/a.wav", size=9)),
    facts.HandlerReplaced: st.builds(facts.HandlerReplaced, because=st.sampled_from(("raised", "transferred"))),
    facts.HandlerEnded: st.builds(facts.HandlerEnded, how=_how),
    facts.AnswerReceived: st.builds(facts.AnswerReceived, sdp=_sdp, renegotiation=st.one_of(st.none(), _sdp)),
    facts.ActionSettled: st.builds(facts.ActionSettled, action=st.sampled_from(("accept", *FAREWELLS))),
    facts.ActionFailed: _failures,
    facts.MessageSent: st.just(facts.MessageSent(kind="text", message_id="m_1")),
    facts.MessageFailed: st.just(facts.MessageFailed(kind="text", cause="graph")),
    facts.MediaOffered: st.builds(facts.MediaOffered, sdp=st.one_of(st.none(), _sdp)),
    facts.MediaAnswerMade: st.builds(facts.MediaAnswerMade, version=st.integers(0, 3), sdp=_sdp),
    facts.MediaAnswered: st.builds(facts.MediaAnswered, version=st.integers(0, 3), sdp=st.one_of(st.none(), _sdp)),
    facts.Placed: st.builds(
        facts.Placed,
        page=st.just("1"),
        consumer=st.just("2"),
        call_by_ms=st.sampled_from((NOON_MS + 60_000, NOON_MS - 1)),
        ask_permission=st.booleans(),
    ),
    facts.PermissionRead: st.builds(
        facts.PermissionRead, status=st.just("has_permission"), may_call=st.booleans(), may_ask=st.booleans()
    ),
    facts.PermissionReplied: st.builds(
        facts.PermissionReplied, response=st.sampled_from(("approve", "reject")), replied_at_ms=st.just(1)
    ),
    facts.ConnectAnswered: st.builds(
        facts.ConnectAnswered, meta_id=st.just("c_1"), sdp=st.one_of(st.none(), _sdp), for_epoch=st.integers(0, 4)
    ),
    agent_facts.AgentAsked: st.builds(agent_facts.AgentAsked, agent=st.just("ada"), leg=_leg, listens=st.booleans()),
    agent_facts.AgentAnswered: st.builds(agent_facts.AgentAnswered, leg=_leg, sdp=_sdp),
    agent_facts.PartingAsked: st.builds(agent_facts.PartingAsked, leg=_leg, because=st.just("hung_up")),
    agent_facts.HoldAsked: st.builds(agent_facts.HoldAsked, leg=_leg, on=st.booleans()),
    agent_facts.TransferAsked: st.builds(agent_facts.TransferAsked, leg=_leg, queue=st.just("sales")),
    agent_facts.NoteWritten: st.just(agent_facts.NoteWritten(agent="ada", text="note")),
    agent_facts.Queued: st.just(agent_facts.Queued(queue="sales")),
    agent_facts.AgentOffered: st.builds(agent_facts.AgentOffered, leg=_leg, sdp=_sdp),
    agent_facts.AgentConnected: st.builds(agent_facts.AgentConnected, leg=_leg, setup_ms=st.just(80)),
    agent_facts.Held: st.builds(agent_facts.Held, leg=_leg),
    agent_facts.Resumed: st.builds(agent_facts.Resumed, leg=_leg),
    agent_facts.AgentLeft: st.builds(agent_facts.AgentLeft, leg=_leg, because=st.just("hung_up")),
}
ATTENDED: Final = tuple(kind for kind in HAPPENINGS if issubclass(kind, agent_facts.Attended))
_INERT: Final[frozenset[type[facts.Fact]]] = frozenset(
    {
        facts.StatusChanged,
        facts.Unrecognized,
        facts.HandedBack,
        facts.LogRestored,
        facts.RecordingStarted,
        facts.RecordingStored,
        facts.HandlerStarted,
        facts.HandlerReplaced,
        facts.MessageSent,
        facts.MessageFailed,
        facts.Placed,
        facts.PermissionRead,
        facts.PermissionReplied,
        facts.ConnectAnswered,
        *ATTENDED,
    }
)
"""Facts that nobody acts on, or that concern agents only; as a group they come as often as one other."""

_delays_ms = st.sampled_from((0, 1, 500, 8_000, 60_000, 700_000))
_usual = st.builds(Told, fact=st.none(), by=st.just("owner"), after_ms=st.sampled_from((0, 200)))
_again = st.builds(Told, fact=st.integers(-4, 12), by=st.just("owner"), after_ms=_delays_ms)
_anything = st.builds(
    Told,
    fact=st.one_of(
        st.one_of(*(of for kind, of in HAPPENINGS.items() if kind in _INERT)),  # a set has another order in each run
        *(of for kind, of in HAPPENINGS.items() if kind not in _INERT),
    ),
    by=st.sampled_from(("nobody", "owner", "owner", "former", "next")),
    after_ms=_delays_ms,
)
_takeover = st.builds(Told, fact=HAPPENINGS[facts.Claimed], by=st.just("next"), after_ms=_delays_ms)
_turn = st.builds(
    Told,
    fact=st.sampled_from(
        (
            facts.ActionGranted(action="accept"),
            facts.DeadlinePassed(deadline_ms=ARMED),
            facts.HandlerEnded(how="returned"),
            facts.Terminated(status="completed"),
        )
    ),
    by=st.just("owner"),
    after_ms=_delays_ms,
)
"""What decides most, more often than its share of all kinds."""

_kinds = st.sampled_from((*[_usual] * 4, _anything, _again, _takeover, _turn))  # `one_of` would take _usual once
_tellings = st.lists(_kinds.flatmap(lambda telling: telling), max_size=30)


def usual_after(call: state.Call) -> facts.Fact:
    """What mostly comes next in the life of a call that goes well."""
    arrived = facts.Arrived(
        page="1", consumer="2", direction="user_initiated", sent_at_ms=NOON_MS, answer_by_ms=NOON_MS + 55_000
    )
    match call.phase:
        case state.Phase.NEW:
            return arrived
        case state.Phase.RINGING:
            return facts.OfferMade(sdp="v=0 one") if call.epoch else facts.Claimed(worker="one")
        case state.Phase.ACCEPTING:
            answer = facts.AnswerReceived(sdp="v=0 two")
            return answer if call.granted else facts.ActionGranted(action="accept")
        case state.Phase.CONNECTING:
            return facts.LegConnected(setup_ms=80)
        case state.Phase.LIVE:
            return facts.HandlerEnded(how="returned")
        case _ if not call.epoch:
            return facts.Claimed(worker="one")
        case _ if call.handler_running:
            return facts.HandlerEnded(how="cancelled")
        case _ if call.leg_open:
            return facts.LegClosed()
        case _ if call.farewell:
            return facts.ActionSettled(action=call.farewell)
        case _:
            return facts.Closed(outcome="")


def lived(
    transition: Transition, tellings: Sequence[Told], usual: Callable[[state.Call], facts.Fact] = usual_after
) -> Life:
    """Let the tellings happen; the log stamps them, and writes no `Closed` but the one that was ordered."""
    life, now_ms = Life(transition), NOON_MS
    for told in tellings:
        now_ms += told.after_ms
        call = life.call
        match told.fact:
            case None:
                fact = usual(call)
            case int(index):
                fact = life.log[index % len(life.log)] if life.log else usual(call)
            case known:
                fact = known
        match fact:
            case facts.Closed():
                if not (call.closing and call.outcome):
                    continue
                fact = facts.Closed(outcome=call.outcome)
            case facts.DeadlinePassed(deadline_ms=deadline_ms) if deadline_ms == ARMED:
                fact = facts.DeadlinePassed(deadline_ms=call.deadline_ms or 0)
                now_ms = max(now_ms, fact.deadline_ms)
            case _:
                pass
        # claims are counted in twos, so that the first owner has a predecessor, too
        epoch = {"nobody": 0, "owner": call.epoch, "former": max(call.epoch - 1, 0), "next": call.epoch + 2}[told.by]
        if isinstance(told.fact, int):
            epoch = fact.epoch
        elif told.fact is None and isinstance(fact, facts.Claimed):
            epoch = call.epoch + 2
        life.take(replace(fact, at_ms=now_ms, epoch=epoch))
    return life


def test_the_lives_hold_every_kind_of_fact() -> None:
    assert set(HAPPENINGS) == set(get_args(facts.CallFact))


@pytest.mark.parametrize("holds", ALWAYS, ids=lambda sentence: sentence.__name__)
def test_whatever_happens(holds: Callable[[Life], None]) -> None:
    @settings(max_examples=400, deadline=None)
    @given(tellings=_tellings)
    def check(tellings: list[Told]) -> None:
        holds(lived(machine.transition, tellings))

    check()


# -- a world with owners, deaths, a fence and a Graph ------------------------------------------------------------------


@dataclass
class Owner:
    """A worker that holds the call: what it has read of the log, and what runs in its memory."""

    epoch: int
    call: state.Call
    read: int
    handler: str = "off"
    leg: str = "none"
    armed_ms: int | None = -1


@dataclass
class Job:
    """A Graph action on its way."""

    action: str
    epoch: int
    deadline_ms: int
    granted: bool = False


_phases = st.sampled_from(list(state.Phase)[1:-1])


class Owned(RuleBasedStateMachine):
    """A call in a world of its own: a bus, workers that claim it, die and hand it back, and jobs that ask a fence."""

    transition: ClassVar[Transition] = staticmethod(machine.transition)

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOON_MS
        self.life = Life(type(self).transition)
        self.owner: Owner | None = None
        self.epoch = 0
        self.is_open = self.is_closed = False
        self.shelved = False
        """Nobody is given the call until something happens to it."""
        self.armed_ms: int | None = None
        self.fence = ""
        self.jobs: list[Job] = []
        self.posted: set[tuple[str, int]] = set()
        self.seen: set[str] = set()
        self.stubborn: tuple[str, ...] = ()
        self.gave_up = False
        """Graph refused our goodbye, or had no time left for it."""

    def ask_the_fence(self, job: Job) -> None:
        raise NotImplementedError

    def reply(self, job: Job, mood: str) -> None:
        raise NotImplementedError

    def meta_waits_no_longer(self) -> None:
        """Let Meta end what has gone on for too long."""
        raise NotImplementedError

    def do_something_fair(self) -> None:
        raise NotImplementedError

    # the bus

    def route(self, fact: facts.Fact, *, identity: str = "") -> None:
        """Append a fact as `route` does: refused under an old epoch, nothing twice."""
        if fact.epoch not in (0, self.epoch) or identity in self.seen:
            return
        if identity:
            self.seen.add(identity)
        self.life.take(replace(fact, at_ms=self.now_ms))
        self.shelved = False
        if not self.is_closed and isinstance(fact, facts.Arrived | facts.Placed | facts.Terminated):
            self.is_open = True
            if isinstance(fact, facts.Arrived) and self.armed_ms is None:
                self.armed_ms = fact.answer_by_ms
            if isinstance(fact, facts.Placed) and self.armed_ms is None:
                self.armed_ms = fact.call_by_ms

    def beat(self) -> None:
        if self.armed_ms is not None and self.armed_ms <= self.now_ms and self.is_open and not self.is_closed:
            passed, self.armed_ms = self.armed_ms, None
            self.gave_up |= self.life.call.phase is state.Phase.ENDING
            self.route(facts.DeadlinePassed(deadline_ms=passed))

    # the owner

    def say(self, fact: facts.Fact) -> None:
        if self.owner is not None:
            self.route(facts.under(fact, self.owner.epoch))

    def perform(self, owner: Owner, order: orders.Order) -> None:
        match order:
            case orders.StartHandler() | orders.RunOnLost():
                owner.handler = "running"
            case orders.StopHandler():
                owner.handler = "stopping"
            case orders.PostAction(action=action, deadline_ms=deadline_ms):
                if (action, owner.epoch) not in self.posted:
                    self.posted.add((action, owner.epoch))
                    self.jobs.append(Job(action, owner.epoch, deadline_ms))
            case orders.ApplyAnswer():
                owner.leg = "connecting"
            case orders.CloseLeg():
                owner.leg = "closing"
            case orders.CloseCall(outcome=outcome):
                self.say(facts.Closed(outcome=outcome))
                self.is_closed, self.owner, self.armed_ms = True, None, None
            case _:
                pass

    # the owner and what runs in its memory

    @precondition(lambda self: self.is_open and not self.is_closed and self.owner is None and not self.shelved)
    @rule()
    def a_worker_claims_the_call(self) -> None:
        self.epoch += 1
        self.route(facts.Claimed(worker=f"worker {self.epoch}", epoch=self.epoch))
        owner = self.owner = Owner(self.epoch, self.life.call, len(self.life.steps))
        self.carry_out(owner, self.life.steps[-1].orders)

    def carry_out(self, owner: Owner, todo: Iterable[orders.Order]) -> None:
        for order in todo:
            self.perform(owner, order)
        if self.owner is owner and owner.call.deadline_ms != owner.armed_ms:
            self.armed_ms = owner.armed_ms = owner.call.deadline_ms

    @precondition(lambda self: self.has_unread)
    @rule()
    def the_owner_reads(self) -> None:
        owner = self.owner
        assert owner is not None
        step = self.life.steps[owner.read]
        assert step.before == owner.call, "a successor's fold is its predecessor's"
        owner.read, owner.call = owner.read + 1, step.after
        self.carry_out(owner, step.orders)

    @property
    def has_unread(self) -> bool:
        return self.owner is not None and self.owner.read < len(self.life.steps)

    @rule(when=_phases)
    def the_owner_dies(self, when: state.Phase) -> None:
        self.take_its_course(when)
        self.owner = None

    @precondition(lambda self: self.owner is not None and not self.fence)
    @rule()
    def the_owner_hands_the_call_back(self) -> None:
        self.say(facts.HandedBack(worker="old"))
        self.owner = None

    @rule(when=_phases, what=st.sampled_from(("reject", "hang up", "return", "raise")))
    def the_handler_ends_it(self, when: state.Phase, what: str) -> None:
        self.take_its_course(when)
        owner = self.owner
        if owner is None or owner.handler != "running":
            return
        match what:
            case "reject":
                self.say(facts.RejectAsked(reason="busy"))
            case "hang up":
                self.say(facts.HangUpAsked(by="handler"))
            case _:
                owner.handler = "off"
                self.say(facts.HandlerEnded(how={"return": "returned", "raise": "raised"}[what]))

    @precondition(lambda self: self.owner is not None and self.owner.handler == "stopping")
    @rule()
    def the_handler_stops(self) -> None:
        assert self.owner is not None
        self.owner.handler = "off"
        self.say(facts.HandlerEnded(how="cancelled"))

    @precondition(lambda self: self.owner is not None and self.owner.leg == "connecting")
    @rule()
    def the_leg_connects(self) -> None:
        assert self.owner is not None
        self.owner.leg = "up"
        self.say(facts.LegConnected(setup_ms=90))

    @precondition(lambda self: self.owner is not None and self.owner.leg in ("offered", "connecting", "up"))
    @rule()
    def the_leg_fails(self) -> None:
        self.say(facts.LegFailed(reason="dtls"))

    @precondition(lambda self: self.owner is not None and self.owner.leg == "closing")
    @rule()
    def the_leg_closes(self) -> None:
        assert self.owner is not None
        self.owner.leg = "closed"
        self.say(facts.LegClosed())

    # the action worker and Graph

    @precondition(lambda self: any(not job.granted for job in self.jobs))
    @rule(data=st.data())
    def a_job_asks_the_fence(self, data: st.DataObject) -> None:
        self.ask_the_fence(data.draw(st.sampled_from([job for job in self.jobs if not job.granted])))

    @precondition(lambda self: any(job.granted for job in self.jobs))
    @rule(data=st.data(), mood=st.sampled_from(("takes it", "takes it", "refuses", "loses the reply")))
    def graph_replies(self, data: st.DataObject, mood: str) -> None:
        self.reply(data.draw(st.sampled_from([job for job in self.jobs if job.granted])), mood)

    def report(self, job: Job, fact: facts.Fact) -> None:
        self.jobs.remove(job)
        self.route(facts.under(fact, job.epoch), identity=f"{job.action}:{job.epoch}")

    @rule(ms=st.sampled_from((50, 2_000, 9_000, 61_000, 700_000)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.meta_waits_no_longer()
        self.beat()

    # the end

    def take_its_course(self, until: state.Phase) -> None:
        for _ in range(30):
            if self.life.call.phase is until or self.is_closed:
                return
            self.do_something_fair()

    def teardown(self) -> None:
        """Be fair to everybody but the stubborn until the call has ended, then look back."""
        for _ in range(500):
            if self.is_closed:
                break
            self.do_something_fair()
        self.look_back()

    def look_back(self) -> None:
        call, log = self.life.call, self.life.log
        assert call.phase is state.Phase.ENDED, "every call reaches its end"
        assert sum(isinstance(fact, facts.Closed) for fact in log) == 1
        for holds in (*ALWAYS, phases_go_one_way_but_for_an_offer_that_died_with_its_worker):
            holds(self.life)


class World(Owned):
    """One inbound call: Meta rings, workers claim it, die, hand it back, and an action worker talks to Graph."""

    def __init__(self) -> None:
        super().__init__()
        self.webhooks: list[facts.Fact] = []
        self.at_meta = "ringing"
        self.sent_at_ms = NOON_MS

    @initialize(
        late_ms=st.sampled_from((0, 0, 0, 3_000, 50_000, 200_000)),
        stubborn=st.sampled_from(((), (), (), ("handler",), ("leg",), ("graph",), ("handler", "leg", "graph"))),
    )
    def the_consumer_calls(self, late_ms: int, stubborn: tuple[str, ...]) -> None:
        self.stubborn = stubborn
        self.sent_at_ms = self.now_ms - late_ms
        arrived = facts.Arrived(
            page="1",
            consumer="2",
            direction="user_initiated",
            sent_at_ms=self.sent_at_ms,
            answer_by_ms=self.sent_at_ms + 55_000,
        )
        self.webhooks.append(arrived)
        self.meta_waits_no_longer()

    def meta_waits_no_longer(self) -> None:
        if self.at_meta == "ringing" and self.now_ms - self.sent_at_ms > 60_000:
            self.end_at_meta()

    def end_at_meta(self) -> None:
        if self.at_meta != "over":
            self.at_meta = "over"
            self.webhooks.append(facts.Terminated(status="completed"))

    @precondition(lambda self: self.webhooks)
    @rule(data=st.data(), sent_again=st.booleans())
    def a_webhook_comes(self, data: st.DataObject, sent_again: bool) -> None:
        webhook = data.draw(st.sampled_from(self.webhooks))
        self.route(webhook, identity=type(webhook).__name__)
        if not sent_again:
            self.webhooks.remove(webhook)

    @rule(version=st.integers(0, 3))
    def meta_changes_its_media(self, version: int) -> None:
        self.route(facts.MediaChanged(version=version, sdp=f"v=0 {version}"), identity=f"media:{version}")

    @rule(when=_phases)
    def the_consumer_hangs_up(self, when: state.Phase) -> None:
        self.take_its_course(when)
        self.end_at_meta()

    @precondition(lambda self: self.owner is not None and self.owner.handler == "running" and self.owner.leg == "none")
    @rule()
    def the_handler_answers(self) -> None:
        assert self.owner is not None
        self.owner.leg = "offered"
        self.say(facts.OfferMade(sdp=f"v=0 offer {self.owner.epoch}"))

    def ask_the_fence(self, job: Job) -> None:
        if self.now_ms >= job.deadline_ms:
            self.gave_up |= job.action in FAREWELLS
            self.report(job, facts.ActionFailed(action=job.action, cause="too_late"))
        elif job.epoch != self.epoch or self.is_closed:
            self.jobs.remove(job)
        elif job.action in FAREWELLS:
            self.fence = self.fence or "barred"
            job.granted = True
        elif self.fence:
            self.report(job, facts.ActionFailed(action="accept", cause="refused"))
        else:
            self.fence, job.granted = "granted", True
            self.route(facts.ActionGranted(action="accept", epoch=job.epoch))

    def reply(self, job: Job, mood: str) -> None:
        over, action = self.at_meta == "over", job.action
        failed = facts.ActionFailed(action=action, cause="graph", code=100)
        if action == "accept":
            taken: facts.Fact = facts.AnswerReceived(sdp="v=0 answer")
            if mood == "refuses":
                self.report(job, failed)
            elif over:
                self.report(job, replace(failed, code=2018396))
            else:
                self.at_meta = "accepted"
                lost = facts.ActionFailed(action="accept", cause="unreachable", ambiguous=True)
                self.report(job, lost if mood == "loses the reply" else taken)
        elif mood != "takes it":
            self.gave_up = True
            self.report(job, failed)
        elif action == "reject" and self.at_meta == "accepted":
            self.report(job, failed)
        else:
            self.end_at_meta()
            self.report(job, facts.ActionSettled(action=action))

    def do_something_fair(self) -> None:
        owner, stubborn = self.owner, self.stubborn
        granted = [job for job in self.jobs if job.granted and "graph" not in stubborn]
        if self.webhooks:
            webhook = self.webhooks.pop(0)
            self.route(webhook, identity=type(webhook).__name__)
        elif owner is None:
            self.a_worker_claims_the_call()
        elif self.has_unread:
            self.the_owner_reads()
        elif any(not job.granted for job in self.jobs):
            self.ask_the_fence(next(job for job in self.jobs if not job.granted))
        elif granted:
            self.reply(granted[0], "takes it")
        elif owner.handler == "stopping" and "handler" not in stubborn:
            self.the_handler_stops()
        elif owner.leg == "closing" and "leg" not in stubborn:
            self.the_leg_closes()
        elif owner.leg == "connecting":
            self.the_leg_connects()
        elif owner.call.phase is state.Phase.LIVE:
            self.end_at_meta()
        elif owner.call.phase is state.Phase.RINGING and "handler" not in stubborn:
            self.the_handler_answers()
        elif owner.handler == "running" and "handler" not in stubborn:  # `on_lost`
            owner.handler = "off"
            self.say(facts.HandlerEnded(how="returned"))
        elif self.armed_ms is not None:
            self.now_ms = max(self.now_ms, self.armed_ms)
            self.meta_waits_no_longer()
            self.beat()
        else:
            raise AssertionError(f"nothing will ever happen again to {owner.call}")

    def look_back(self) -> None:
        super().look_back()
        assert self.at_meta == "over" or self.gave_up, "a call that is closed is over at Meta, too"


OFFER_DIED: Final = (
    (state.Phase.ACCEPTING, state.Phase.RINGING),
    (state.Phase.DIALLING, state.Phase.PLACING),
)


def phases_go_one_way_but_for_an_offer_that_died_with_its_worker(life: Life) -> None:
    order = list(state.Phase)
    for step in life.steps:
        back = order.index(step.after.phase) < order.index(step.before.phase)
        assert not back or (step.before.phase, step.after.phase) in OFFER_DIED


def test_every_call_of_the_world_reaches_one_end_with_all_properties_kept() -> None:
    run_state_machine_as_test(World, settings=settings(max_examples=200, stateful_step_count=40, deadline=None))


# -- mutants -----------------------------------------------------------------------------------------------------------


class Mutant(NamedTuple):
    """A change of one line of the machine, and the property that has to notice."""

    name: str
    old: str
    new: str
    noticed_by: Callable[[Life], None] | None
    """None: the world as a whole."""
    module: ModuleType = machine


MUTANTS: Final = (
    Mutant(
        "accepts again on a second offer",
        "case Phase.RINGING, facts.OfferMade(",
        "case Phase.RINGING | Phase.ACCEPTING, facts.OfferMade(",
        accept_is_ordered_at_most_once_per_epoch,
    ),
    Mutant(
        "accepts what was accepted",
        "facts.OfferMade(at_ms=at_ms) if not call.granted:",
        "facts.OfferMade(at_ms=at_ms):",
        accept_is_never_ordered_after_it_was_granted,
    ),
    Mutant(
        "a successor rings again where it should end",
        "case Phase.DIALLING | Phase.CALLING | Phase.ACCEPTING | Phase.CONNECTING | Phase.LIVE if call.granted:",
        "case Phase.DIALLING | Phase.CALLING | Phase.LIVE if call.granted:",
        a_call_whose_accept_was_granted_never_rings_again,
    ),
    Mutant(
        "says goodbye for every grant",
        'granted=True, farewell="terminate")',
        "granted=True)",
        one_goodbye_is_said_per_epoch,
    ),
    Mutant(
        "has no time limit from accept to live",
        "leg_open=True, deadline_ms=live_by_ms)",
        "leg_open=True, deadline_ms=None)",
        an_unanswered_call_always_has_a_deadline,
    ),
    Mutant(
        "overlooks the very deadline",
        "fact.deadline_ms >= call.deadline_ms",
        "fact.deadline_ms > call.deadline_ms",
        a_deadline_that_passes_ends_the_call,
        ending,
    ),
    Mutant(
        "lets Meta's end overrule ours",
        "case Phase.ENDING, facts.Terminated():",
        "case Phase.ENDED, facts.Terminated():",
        every_call_ends_in_exactly_one_outcome,
    ),
    Mutant(
        "remembers something outside the log",
        "phase=Phase.RINGING, deadline_ms=fact.answer_by_ms)",
        "phase=Phase.RINGING, deadline_ms=id(object()) and __import__('time').monotonic_ns())",
        the_log_alone_rebuilds_the_state,
    ),
    Mutant(
        "applies an answer twice",
        "case Phase.ACCEPTING, facts.AnswerReceived(",
        "case Phase.ACCEPTING | Phase.CONNECTING, facts.AnswerReceived(",
        a_repeated_fact_does_nothing,
    ),
    Mutant(
        "listens to former owners",
        "if fact.epoch not in (0, call.epoch) and",
        "if fact.epoch > call.epoch and",
        facts_of_an_epoch_that_is_over_change_nothing,
    ),
    Mutant(
        "is taken over twice under one epoch",
        "facts.Claimed(epoch=epoch) if epoch > call.epoch",
        "facts.Claimed(epoch=epoch) if epoch >= call.epoch",
        facts_of_an_epoch_that_is_over_change_nothing,
    ),
    Mutant(
        "comes back from the end",
        "case Phase.ENDED, _:",
        "case Phase.ENDED, facts.Closed():",
        nothing_is_ordered_after_the_end,
    ),
    Mutant(
        "closes with a goodbye owed",
        "or call.farewell or call.closing",
        "or call.closing",
        a_call_is_closed_once_per_epoch_when_nothing_runs_and_nothing_is_owed,
        ending,
    ),
    Mutant(
        "closes more than once",
        "return replace(call, closing=True), (*todo",
        "return call, (*todo",
        a_call_is_closed_once_per_epoch_when_nothing_runs_and_nothing_is_owed,
        ending,
    ),
    Mutant("a successor does not close what its predecessor was closing", ", closing=False)", ")", None),
    Mutant(
        "waits for ever for a handler that does not end",
        "case Phase.ENDING, facts.DeadlinePassed()",
        "case Phase.NEW, facts.DeadlinePassed()",
        None,
    ),
    Mutant(
        "goes without a goodbye",
        'handler_running=False), Outcome.COMPLETED, "terminate", at_ms)',
        "handler_running=False), Outcome.COMPLETED, None, at_ms)",
        a_conversation_that_meta_did_not_end_is_terminated_there,
    ),
    Mutant(
        "takes an answer for no proof",
        "phase=Phase.CONNECTING, granted=True, pending_offer=None)",
        "phase=Phase.CONNECTING, pending_offer=None)",
        an_answer_proves_that_the_accept_was_granted,
    ),
    Mutant(
        "rejects what was accepted meanwhile",
        'case Phase.ENDING, facts.ActionGranted(action="accept", at_ms=at_ms)',
        'case Phase.NEW, facts.ActionGranted(action="accept", at_ms=at_ms)',
        a_reject_that_an_accept_overtook_becomes_a_terminate,
    ),
)


def mutate(mutant: Mutant) -> Transition:
    """Build the machine anew of its modules, one of them changed in one place."""
    built: list[ModuleType] = []
    for original in (ending, placing, changing, machine):
        source = Path(original.__file__ or "").read_text()
        if original is mutant.module:
            assert source.count(mutant.old) == 1, f"{original.__name__}: {mutant.old!r} is not in it exactly once"
            source = source.replace(mutant.old, mutant.new)
        module = ModuleType(original.__name__)
        exec(compile(source, original.__name__, "exec"), vars(module))  # noqa: S102 our own source
        for other in built:
            taken = [name for name, it in vars(module).items() if getattr(it, "__module__", "") == other.__name__]
            vars(module).update({name: vars(other)[name] for name in taken})
        named = {"placing": 1, "changing": 2}
        vars(module).update({name: built[at] for name, at in named.items() if name in vars(module)})
        built.append(module)
    return cast("Transition", vars(built[-1])["transition"])


HUNT: Final = settings(
    max_examples=4_000,
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_mutant_is_noticed_that(mutant: Mutant) -> None:
    transition = mutate(mutant)
    holds = mutant.noticed_by
    if holds is None:
        world = type("MutantWorld", (World,), {"transition": staticmethod(transition)})
        with pytest.raises(AssertionError):
            run_state_machine_as_test(world, settings=HUNT)
        return

    @HUNT
    @given(tellings=_tellings)
    def check(tellings: list[Told]) -> None:
        holds(lived(transition, tellings))

    with pytest.raises(AssertionError):
        check()


def test_every_property_has_a_mutant_that_it_notices() -> None:
    assert set(ALWAYS) - {mutant.noticed_by for mutant in MUTANTS} == set()
