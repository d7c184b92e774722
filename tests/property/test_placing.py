"""What is true of calls that we place: over any facts in any order, and in a world with a Graph that loses replies.

Built as `test_machine` is, whose properties hold here, too.
"""

from collections.abc import Callable, Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from shared.calls import ending, facts, machine, orders, placing, state
from shared.calls.remembered import remembered
from tests.property.test_machine import (
    ALWAYS,
    ARMED,
    HAPPENINGS,
    HUNT,
    NOON_MS,
    Job,
    Life,
    Mutant,
    Owned,
    Owner,
    Told,
    lived,
    mutate,
)

Phase = state.Phase
META: Final = "c_1"
UNDERWAY: Final = (Phase.PLACING, Phase.DIALLING, Phase.CALLING)
_CONNECT: Final = facts.ActionGranted(action="connect")


# -- the properties ----------------------------------------------------------------------------------------------------


def connect_is_ordered_at_most_once_per_epoch(life: Life) -> None:
    epochs = [step.after.epoch for step, _ in life.posted("connect")]
    assert len(epochs) == len(set(epochs))


def connect_is_never_ordered_after_it_was_granted(life: Life) -> None:
    assert not any(step.before.granted for step, _ in life.posted("connect"))


def a_call_whose_connect_was_granted_is_never_dialled_again(life: Life) -> None:
    for step in life.steps:
        if step.before.granted and step.before.phase in (Phase.DIALLING, Phase.CALLING, Phase.LIVE):
            assert step.after.phase not in (Phase.PLACING, step.before.phase) or step.after.epoch == step.before.epoch


def only_who_may_be_called_is_called(life: Life) -> None:
    for step, _ in life.posted("connect"):
        assert step.after.permission is state.Permission.GRANTED


def a_consumer_is_asked_only_where_it_is_wanted_and_once_per_epoch(life: Life) -> None:
    asked = [step.after for step, _ in life.posted("optin")]
    assert all(call.ask_permission for call in asked)
    assert len(asked) == len({call.epoch for call in asked})


def a_call_that_is_being_placed_always_has_a_deadline(life: Life) -> None:
    assert all(step.after.deadline_ms is not None for step in life.steps if step.after.phase in UNDERWAY)


def no_stage_that_waits_for_graph_or_for_us_lasts_as_long_as_a_consumers_answer_may(life: Life) -> None:
    """Whoever has to say something may have died; the call is not kept for a day because of that."""
    for step in life.steps:
        call = step.after
        began_well = isinstance(life.log[0], facts.Placed)
        if began_well and call.epoch and call.phase is Phase.PLACING and call.permission is not state.Permission.ASKED:
            assert call.deadline_ms is not None
            claimed_ms = max(fact.at_ms for fact in life.log if fact.at_ms <= step.fact.at_ms)
            assert call.deadline_ms <= claimed_ms + placing.PERMISSION_ANSWERED_MS


def a_goodbye_names_the_call_as_meta_does(life: Life) -> None:
    assert all(step.after.meta_id for step, _ in life.posted("reject", "terminate") if step.after.placed)


def what_may_ring_at_metas_is_owed_a_goodbye(life: Life) -> None:
    for step in life.steps:
        call, ends = step.before, step.after.phase is Phase.ENDING
        told = isinstance(step.fact, facts.Terminated) or (
            isinstance(step.fact, facts.ActionFailed) and not step.fact.ambiguous
        )
        if ends and call.placed and call.phase in (*UNDERWAY, Phase.LIVE) and not told:
            expected = {Phase.PLACING: None, Phase.DIALLING: "withdraw"}.get(call.phase, "terminate")
            doubt = isinstance(step.fact, facts.ActionFailed) and step.fact.action == "connect"
            knows = doubt or isinstance(step.fact, facts.ConnectAnswered)
            claimed = isinstance(step.fact, facts.Claimed)
            if call.granted or knows:
                expected = "terminate"
            elif claimed:
                expected = None
            assert step.after.farewell == expected


def an_id_of_metas_that_comes_while_we_end_is_said_goodbye_to(life: Life) -> None:
    for step in life.steps:
        if (
            isinstance(step.fact, facts.ConnectAnswered)
            and step.fact.epoch in (0, step.before.epoch)
            and step.before.phase is Phase.ENDING
            and step.before.placed
            and step.before.farewell is not None
            and not step.before.meta_id
        ):
            assert [order.action for order in step.orders if isinstance(order, orders.PostAction)] == ["terminate"]


def an_id_of_metas_is_never_overlooked_before_we_know_one(life: Life) -> None:
    for step in life.steps:
        heard = isinstance(step.fact, facts.ConnectAnswered) and step.fact.epoch in (0, step.before.epoch)
        if heard and step.before.phase in (Phase.PLACING, Phase.DIALLING):
            assert step.after.meta_id


def a_restored_log_leaves_a_connect_in_doubt(life: Life) -> None:
    """The grant's fact may be among what Redis lost: a call that had been offered may be there."""
    for step in life.steps:
        if isinstance(step.fact, facts.LogRestored) and step.before.phase is Phase.DIALLING:
            assert step.after.granted or step.fact.epoch not in (0, step.before.epoch)


def a_call_that_may_be_there_is_waited_for(life: Life) -> None:
    for step in life.steps:
        fact, call = step.fact, step.before
        doubt = isinstance(fact, facts.ActionFailed) and fact.action == "connect" and fact.ambiguous
        waits = call.phase is Phase.DIALLING or (call.phase is Phase.ENDING and call.farewell and not call.meta_id)
        if doubt and call.placed and waits and fact.epoch in (0, call.epoch):
            assert step.after.farewell is not None
            assert (step.after.deadline_ms or 0) > fact.at_ms + ending.UNSURE_MS
            sought = any(isinstance(order, orders.Seek) for order in step.orders)
            assert sought or call.phase is Phase.ENDING, "it is looked for since it ends"


def both_can_speak_once_it_was_picked_up_and_connected(life: Life) -> None:
    spoke = [step for step, _ in life.ordered(orders.LetSpeak)]
    assert len(spoke) == len({step.after.epoch for step in spoke})
    for step in life.steps:
        if step.after.placed and step.after.phase is Phase.LIVE:
            assert step.after.picked_up
            assert step.after.leg_connected
    assert all(step.after.phase is Phase.LIVE for step in spoke)


def a_far_side_that_leaves_before_pick_up_did_not_pick_up(life: Life) -> None:
    """Meta's own word of it may come later, and find the call closed."""
    for step in life.steps:
        before, fact = step.before, step.fact
        if before.phase is not Phase.CALLING or before.picked_up or fact.epoch != before.epoch:
            continue
        if isinstance(fact, facts.LegFailed):
            left = fact.reason == facts.PEER_CLOSED
            assert step.after.outcome is (state.Outcome.UNREACHED if left else state.Outcome.FAILED)


def a_call_on_the_shelf_holds_nothing_and_wakes_when_its_time_is_up(life: Life) -> None:
    for step, _ in life.ordered(orders.Shelve):
        assert not step.after.handler_running
        assert not step.after.leg_open
        assert step.after.deadline_ms == step.after.answer_by_ms


PLACING: Final[tuple[Callable[[Life], None], ...]] = (
    connect_is_ordered_at_most_once_per_epoch,
    connect_is_never_ordered_after_it_was_granted,
    a_call_whose_connect_was_granted_is_never_dialled_again,
    only_who_may_be_called_is_called,
    a_consumer_is_asked_only_where_it_is_wanted_and_once_per_epoch,
    a_call_that_is_being_placed_always_has_a_deadline,
    no_stage_that_waits_for_graph_or_for_us_lasts_as_long_as_a_consumers_answer_may,
    a_goodbye_names_the_call_as_meta_does,
    what_may_ring_at_metas_is_owed_a_goodbye,
    an_id_of_metas_that_comes_while_we_end_is_said_goodbye_to,
    an_id_of_metas_is_never_overlooked_before_we_know_one,
    a_restored_log_leaves_a_connect_in_doubt,
    a_call_that_may_be_there_is_waited_for,
    both_can_speak_once_it_was_picked_up_and_connected,
    a_far_side_that_leaves_before_pick_up_did_not_pick_up,
    a_call_on_the_shelf_holds_nothing_and_wakes_when_its_time_is_up,
)


# -- any facts in any order --------------------------------------------------------------------------------------------


def wanted(*, ask_permission: bool = True, within_ms: int = 86_400_000) -> facts.Placed:
    return facts.Placed(
        page="1", consumer="2", call_by_ms=NOON_MS + within_ms, ask_permission=ask_permission, ring_s=30
    )


def usual_after(call: state.Call) -> facts.Fact:
    """What mostly comes next in the life of a call that is placed and goes well."""
    match call.phase:
        case Phase.NEW:
            return wanted()
        case Phase.PLACING if call.epoch:
            match call.permission:
                case state.Permission.UNKNOWN:
                    return facts.PermissionRead(status="", may_call=not call.ask_permission, may_ask=True)
                case state.Permission.ASKING:
                    return facts.ActionSettled(action="optin")
                case state.Permission.ASKED:
                    return facts.PermissionReplied(response="approve", replied_at_ms=1)
                case state.Permission.GRANTED:
                    return facts.OfferMade(sdp="v=0 one")
        case Phase.DIALLING:
            answered = facts.ConnectAnswered(meta_id=META, sdp="v=0 two", for_epoch=call.epoch)
            return answered if call.granted else _CONNECT
        case Phase.CALLING if call.leg_connected:
            return facts.StatusChanged(status="accepted")
        case Phase.CALLING:
            return facts.LegConnected(setup_ms=80)
        case Phase.LIVE:
            return facts.HandlerEnded(how="returned")
        case _ if not call.epoch:
            return facts.Claimed(worker="one")
        case _ if call.handler_running:
            return facts.HandlerEnded(how="cancelled")
        case _ if call.leg_open:
            return facts.LegClosed()
        case _ if call.farewell:
            return facts.ActionSettled(action=call.farewell)
    return facts.Closed(outcome="")


_failed = st.builds(
    facts.ActionFailed,
    action=st.sampled_from(("connect", "connect", "optin", "check_permission")),
    cause=st.sampled_from(("graph", "unreachable", "refused")),
    ambiguous=st.booleans(),
)
_ours = st.one_of(
    *(
        HAPPENINGS[kind]
        for kind in (
            facts.PermissionRead,
            facts.PermissionReplied,
            facts.ConnectAnswered,
            facts.Terminated,
            facts.HangUpAsked,
            facts.LegFailed,
            facts.LogRestored,
            facts.MediaChanged,
        )
    ),
    _failed,
    st.sampled_from(
        (
            _CONNECT,
            facts.OfferMade(sdp="v=0 again"),
            facts.ConnectAnswered(meta_id=META),
            facts.ActionSettled(action="withdraw"),
            facts.ActionSettled(action="optin"),
            facts.StatusChanged(status="accepted"),
            facts.DeadlinePassed(deadline_ms=ARMED),
            facts.HandlerEnded(how="returned"),
        )
    ),
)
_delays_ms = st.sampled_from((0, 1, 500, 8_000, 60_000))
_usual = st.builds(Told, fact=st.none(), by=st.just("owner"), after_ms=st.sampled_from((0, 200)))
_turn = st.builds(Told, fact=_ours, by=st.sampled_from(("owner", "owner", "nobody", "former")), after_ms=_delays_ms)
_takeover = st.builds(Told, fact=HAPPENINGS[facts.Claimed], by=st.just("next"), after_ms=_delays_ms)
_again = st.builds(Told, fact=st.integers(-4, 12), by=st.just("owner"), after_ms=_delays_ms)
_first = st.builds(
    Told,
    fact=st.sampled_from((wanted(), wanted(ask_permission=False), wanted(within_ms=60_000))),
    by=st.just("nobody"),
    after_ms=st.just(0),
)
_doubt = st.builds(
    Told,
    fact=st.sampled_from(
        (
            facts.ActionFailed(action="connect", cause="unreachable", ambiguous=True),
            facts.HangUpAsked(by="operator"),
        )
    ),
    by=st.just("owner"),
    after_ms=_delays_ms,
)
_later = st.sampled_from((*[_usual] * 5, _turn, _turn, _doubt, _takeover, _again)).flatmap(lambda telling: telling)
_tellings = st.builds(
    lambda first, well, later: [first, *[Told(None, "owner", 100)] * well, *later],
    _first,
    st.sampled_from((0, 0, 0, 2, 4, 6)),
    st.lists(_later, max_size=25),
)


@pytest.mark.parametrize("holds", [*PLACING, *ALWAYS], ids=lambda sentence: sentence.__name__)
def test_whatever_happens_to_a_call_that_is_placed(holds: Callable[[Life], None]) -> None:
    @settings(max_examples=150, deadline=None)
    @given(tellings=_tellings)
    def check(tellings: list[Told]) -> None:
        holds(lived(machine.transition, tellings, usual_after))

    check()


# -- a world with a shelf, a fence that is asked again, and a Graph that loses replies ---------------------------------


class Placing(Owned):
    """One call that we place: permission, connect, what Meta makes of it, and how we hear of that."""

    def __init__(self) -> None:
        super().__init__()
        self.at_meta = ""
        """Nothing, `calling`, `talking` or `over`."""
        self.connects = 0
        self.rang_ms = 0
        self.may_reply = False
        self.webhooks: list[facts.Fact] = []
        self.bound = False
        """Meta's id is known for our call's."""
        self.parked: list[facts.Fact] = []
        self.heard: set[str] = set()
        self.unsure_until_ms = 0

    # what the bus does beyond any call's

    def hear(self, fact: facts.Fact) -> None:
        """Take a webhook under Meta's id."""
        named = f"{type(fact).__name__}{getattr(fact, 'status', '')}"
        if named in self.heard:
            return
        self.heard.add(named)
        if not self.bound and self.now_ms < self.unsure_until_ms and isinstance(fact, facts.StatusChanged):
            self.bind(facts.ConnectAnswered(meta_id=META))
        if self.bound:
            self.route(fact)
        else:
            self.parked.append(fact)

    def beat(self) -> None:
        """Let a deadline pass; what Meta calls by a name that we know is not left alone because of it."""
        gave_up = self.gave_up
        super().beat()
        self.gave_up = gave_up or (self.gave_up and (not self.bound or bool(self.jobs)))

    def bind(self, answered: facts.ConnectAnswered) -> None:
        self.bound = True
        self.route(answered)
        parked, self.parked = self.parked, []
        for fact in parked:
            self.route(fact)

    def seek(self) -> None:
        if self.bound:
            return
        if any(isinstance(fact, facts.StatusChanged) for fact in self.parked):
            self.bind(facts.ConnectAnswered(meta_id=META))
        else:
            self.unsure_until_ms = self.now_ms + ending.UNSURE_MS

    def perform(self, owner: Owner, order: orders.Order) -> None:
        match order:
            case orders.MakeOffer():
                owner.leg = "offering"
            case orders.Withdraw():
                self.jobs.append(Job("withdraw", owner.epoch, self.now_ms + 700_000))
            case orders.Seek():
                self.seek()
            case orders.Shelve():
                if owner.read == len(self.life.steps):
                    self.say(facts.HandedBack(worker="it"))
                    self.owner, self.shelved, self.armed_ms = None, True, owner.call.deadline_ms
            case _:
                super().perform(owner, order)

    @initialize(
        ask_permission=st.booleans(),
        within_ms=st.sampled_from((60_000, 86_400_000)),
        stubborn=st.sampled_from(((), (), (), ("handler",), ("leg",), ("graph",), ("consumer",))),
    )
    def we_are_asked_to_call(self, ask_permission: bool, within_ms: int, stubborn: tuple[str, ...]) -> None:
        self.stubborn = stubborn
        self.route(wanted(ask_permission=ask_permission, within_ms=within_ms))

    # Meta and the consumer

    @precondition(lambda self: self.webhooks)
    @rule(data=st.data(), sent_again=st.booleans())
    def a_webhook_comes(self, data: st.DataObject, sent_again: bool) -> None:
        webhook = data.draw(st.sampled_from(self.webhooks))
        self.hear(webhook)
        if not sent_again:
            self.webhooks.remove(webhook)

    @precondition(lambda self: self.at_meta == "calling")
    @rule(with_media=st.booleans())
    def the_consumer_picks_up(self, with_media: bool) -> None:
        self.at_meta = "talking"
        self.webhooks.append(facts.StatusChanged(status="accepted"))
        if with_media:
            self.webhooks.append(facts.MediaChanged(version=1, sdp="v=0 theirs"))

    @precondition(lambda self: self.at_meta in ("calling", "talking"))
    @rule()
    def the_consumer_declines_or_hangs_up(self) -> None:
        self.end_at_meta()

    @precondition(lambda self: self.may_reply)
    @rule(response=st.sampled_from(("approve", "approve", "reject", "later")))
    def the_consumer_replies(self, response: str) -> None:
        self.may_reply = False
        self.route(facts.PermissionReplied(response=response, replied_at_ms=1), identity="reply")

    @precondition(lambda self: self.is_open and not self.is_closed)
    @rule(when=st.sampled_from(UNDERWAY), granted=st.booleans())
    def an_operator_hangs_up(self, when: state.Phase, granted: bool) -> None:
        self.take_its_course(when)
        for _ in range(5):
            if when is Phase.DIALLING and granted and not self.life.call.granted and not self.is_closed:
                self.do_something_fair()
        self.route(facts.HangUpAsked(by="operator"), identity="operator")

    def end_at_meta(self) -> None:
        if self.at_meta != "over":
            self.at_meta = "over"
            self.webhooks.append(facts.Terminated(status="completed"))

    def meta_waits_no_longer(self) -> None:
        if self.at_meta == "calling" and self.now_ms - self.rang_ms > 60_000:
            self.end_at_meta()

    @precondition(lambda self: self.owner is not None and self.owner.leg == "offering")
    @rule()
    def the_offer_is_made(self) -> None:
        assert self.owner is not None
        self.owner.leg = "offered"
        self.say(facts.OfferMade(sdp=f"v=0 offer {self.owner.epoch}"))

    # the action worker and Graph

    def ask_the_fence(self, job: Job) -> None:
        mine = self.fence == f"connect:{job.epoch}"
        if job.action == "connect" and mine:  # its worker died with it
            self.report(job, facts.ActionFailed(action="connect", cause="unreachable", ambiguous=True))
        elif self.now_ms >= job.deadline_ms:
            self.gave_up |= job.action == "terminate"
            self.report(job, facts.ActionFailed(action=job.action, cause="too_late"))
        elif job.epoch != self.epoch or self.is_closed:
            self.jobs.remove(job)
        elif job.action == "withdraw":
            self.jobs.remove(job)
            if self.fence in ("", "barred"):
                self.fence = "barred"
                self.route(facts.ActionSettled(action="withdraw", epoch=job.epoch))
        elif job.action == "connect" and (self.fence or self.owner is None):
            if self.fence:
                self.report(job, facts.ActionFailed(action="connect", cause="refused"))
            else:
                self.jobs.remove(job)
        else:
            job.granted = True
            if job.action == "connect":
                self.fence = f"connect:{job.epoch}"
                self.route(replace(_CONNECT, epoch=job.epoch))

    def reply(self, job: Job, mood: str) -> None:
        failed = facts.ActionFailed(action=job.action, cause="graph", code=100)
        lost = replace(failed, cause="unreachable", code=None, ambiguous=True)
        match job.action:
            case "check_permission":
                may_call = mood == "takes it" and "consumer" not in self.stubborn
                read = facts.PermissionRead(status="", may_call=may_call, may_ask=mood != "refuses")
                self.report(job, read)
            case "optin":
                self.may_reply |= mood != "refuses"
                self.report(job, {"refuses": failed, "loses the reply": lost}.get(mood) or self.settled(job))
            case "connect":
                if mood == "refuses":
                    self.report(job, failed)
                    return
                self.connect()
                if mood == "loses the reply":
                    self.report(job, lost)
                    return
                self.jobs.remove(job)
                if not self.bound:
                    self.bind(facts.ConnectAnswered(meta_id=META, sdp="v=0 answer", for_epoch=job.epoch))
            case _ if mood != "takes it":
                self.gave_up = True
                self.report(job, failed)
            case _:
                self.end_at_meta()
                self.report(job, self.settled(job))

    def settled(self, job: Job) -> facts.Fact:
        return facts.ActionSettled(action=job.action)

    def connect(self) -> None:
        self.connects += 1
        assert self.connects == 1, "no consumer is rung twice"
        self.at_meta, self.rang_ms = "calling", self.now_ms
        self.webhooks.append(facts.StatusChanged(status="ringing"))

    @precondition(lambda self: any(job.granted and job.action == "connect" for job in self.jobs))
    @rule()
    def graph_takes_a_connect_and_answers_nothing(self) -> None:
        job = next(job for job in self.jobs if job.granted and job.action == "connect")
        self.connect()
        self.jobs.remove(job)
        if not self.bound:
            self.bind(facts.ConnectAnswered(meta_id=META, for_epoch=job.epoch))

    @precondition(lambda self: any(job.granted and job.action == "connect" for job in self.jobs))
    @rule(sent=st.booleans())
    def the_action_worker_dies(self, sent: bool) -> None:
        """Before or after it sent what it had leave for; its job is delivered again."""
        job = next(job for job in self.jobs if job.granted and job.action == "connect")
        job.granted = False
        if sent and not self.connects:
            self.connect()

    def report(self, job: Job, fact: facts.Fact) -> None:
        """Report as the action worker does: what became of a granted connect, whoever owns the call now."""
        if job.action == "connect" and self.fence.startswith(f"connect:{job.epoch}"):
            self.jobs.remove(job)
            self.route(fact, identity="connect")
            return
        super().report(job, fact)

    @precondition(lambda self: self.owner is not None and self.is_open and not self.is_closed)
    @rule()
    def redis_is_emptied(self) -> None:
        """What the owner has not read is gone, and so is what was queued; it writes down what it knows, and parts."""
        owner = self.owner
        assert owner is not None
        del self.life.steps[owner.read :]
        known = remembered(self.life.log)
        self.fence = self.fence and (f"{self.fence} restored" if known.may_be_granted else "")
        if known.may_be_granted and not self.fence:
            self.fence = "restored"
        self.jobs = [job for job in self.jobs if job.granted and job.action == "connect"]
        self.posted, self.seen, self.unsure_until_ms = set(), set(), 0
        self.bound = bool(known.meta_id)
        self.parked = []
        self.route(facts.LogRestored())
        self.route(facts.HandedBack(worker="it", epoch=owner.epoch))
        self.owner = None

    # the end

    def do_something_fair(self) -> None:
        owner, stubborn = self.owner, self.stubborn
        granted = [job for job in self.jobs if job.granted and "graph" not in stubborn]
        if self.webhooks:
            self.hear(self.webhooks.pop(0))
        elif owner is None and not self.shelved:
            self.a_worker_claims_the_call()
        elif self.has_unread:
            self.the_owner_reads()
        elif any(not job.granted for job in self.jobs):
            self.ask_the_fence(next(job for job in self.jobs if not job.granted))
        elif granted:
            self.reply(granted[0], "takes it")
        elif self.may_reply and "consumer" not in stubborn:
            self.the_consumer_replies("approve")
        elif owner is not None and self.something_of_ours(owner):
            pass
        elif self.armed_ms is not None:
            self.now_ms = max(self.now_ms, self.armed_ms)
            self.meta_waits_no_longer()
            self.beat()
        else:
            raise AssertionError(f"nothing will ever happen again to {self.life.call}")

    def something_of_ours(self, owner: Owner) -> bool:
        """Let what runs in the owner's memory, or the consumer, go on."""
        if owner.handler == "stopping" and "handler" not in self.stubborn:
            self.the_handler_stops()
        elif owner.leg == "closing" and "leg" not in self.stubborn:
            self.the_leg_closes()
        elif owner.leg == "offering" and "leg" not in self.stubborn:
            self.the_offer_is_made()
        elif owner.leg == "connecting":
            self.the_leg_connects()
        elif self.at_meta == "calling" and owner.call.phase is Phase.CALLING and "consumer" not in self.stubborn:
            self.the_consumer_picks_up(with_media=True)
        elif owner.call.phase is Phase.LIVE:
            self.end_at_meta()
        elif owner.call.phase is Phase.ENDING and owner.handler == "running" and "handler" not in self.stubborn:
            owner.handler = "off"  # `on_lost`
            self.say(facts.HandlerEnded(how="returned"))
        else:
            return False
        return True

    def look_back(self) -> None:
        super().look_back()
        for holds in PLACING:
            holds(self.life)
        assert self.at_meta in ("", "over") or self.gave_up, "a call that is closed is over at Meta, too"


def test_every_call_that_is_placed_reaches_one_end_and_rings_once() -> None:
    run_state_machine_as_test(Placing, settings=settings(max_examples=200, stateful_step_count=40, deadline=None))


# -- mutants -----------------------------------------------------------------------------------------------------------

MUTANTS: Final = (
    Mutant(
        "dials again on a second offer",
        "case Phase.PLACING, facts.OfferMade(",
        "case Phase.PLACING | Phase.DIALLING, facts.OfferMade(",
        connect_is_ordered_at_most_once_per_epoch,
        placing,
    ),
    Mutant(
        "dials what was granted",
        "Phase.PLACING, facts.OfferMade(at_ms=at_ms) if call.permission is Permission.GRANTED and not call.granted:",
        "Phase.PLACING | Phase.DIALLING, facts.OfferMade(at_ms=at_ms) if call.permission is Permission.GRANTED:",
        connect_is_never_ordered_after_it_was_granted,
        placing,
    ),
    Mutant(
        "a successor dials again where it should end",
        "case Phase.DIALLING | Phase.CALLING | Phase.ACCEPTING",
        "case Phase.CALLING | Phase.ACCEPTING",
        a_call_whose_connect_was_granted_is_never_dialled_again,
    ),
    Mutant(
        "a successor calls again where it should end",
        "case Phase.DIALLING | Phase.CALLING | Phase.ACCEPTING",
        "case Phase.DIALLING | Phase.ACCEPTING",
        a_call_whose_connect_was_granted_is_never_dialled_again,
    ),
    Mutant(
        "dials whom nobody may call",
        "facts.OfferMade(at_ms=at_ms) if call.permission is Permission.GRANTED and not call.granted:",
        "facts.OfferMade(at_ms=at_ms):",
        only_who_may_be_called_is_called,
        placing,
    ),
    Mutant(
        "asks whomever it may not call",
        "facts.PermissionRead(may_ask=True) if call.ask_permission and not asked:",
        "facts.PermissionRead(may_ask=True) if not asked:",
        a_consumer_is_asked_only_where_it_is_wanted_and_once_per_epoch,
        placing,
    ),
    Mutant(
        "dials without a time limit",
        "leg_open=True, deadline_ms=at_ms + CONNECT_ANSWERED_MS)",
        "leg_open=True, deadline_ms=None)",
        a_call_that_is_being_placed_always_has_a_deadline,
        placing,
    ),
    Mutant(
        "waits for Graph as long as for a consumer",
        "deadline_ms = min(at_ms + PERMISSION_ANSWERED_MS, call.answer_by_ms)",
        "deadline_ms = call.answer_by_ms",
        no_stage_that_waits_for_graph_or_for_us_lasts_as_long_as_a_consumers_answer_may,
        placing,
    ),
    Mutant(
        "says goodbye by a name that Meta does not know",
        "case _ if call.placed and not call.meta_id:",
        "case _ if call.placed and call.meta_id == 'none':",
        a_goodbye_names_the_call_as_meta_does,
        ending,
    ),
    Mutant(
        "takes a connect that may have arrived for one that did not",
        '"terminate" if fact.ambiguous else None, at_ms, refuse)',
        "None, at_ms, refuse)",
        what_may_ring_at_metas_is_owed_a_goodbye,
        placing,
    ),
    Mutant(
        "gives up a connect without withdrawing it",
        'return "withdraw" if call.phase is Phase.DIALLING else None',
        "return None",
        what_may_ring_at_metas_is_owed_a_goodbye,
        ending,
    ),
    Mutant(
        "lets a call ring whose id came late",
        'return known, say_farewell(known, "terminate", fact.at_ms)',
        "return known, ()",
        an_id_of_metas_that_comes_while_we_end_is_said_goodbye_to,
        placing,
    ),
    Mutant(
        "speaks before anybody has picked up",
        "if not (call.picked_up and call.leg_connected):",
        "if not call.leg_connected:",
        both_can_speak_once_it_was_picked_up_and_connected,
        placing,
    ),
    Mutant(
        "puts a call on the shelf for as long as Graph takes",
        "permission=Permission.ASKED, deadline_ms=call.answer_by_ms)",
        "permission=Permission.ASKED)",
        a_call_on_the_shelf_holds_nothing_and_wakes_when_its_time_is_up,
        placing,
    ),
    Mutant(
        "overlooks an id that came for a former owner",
        "case Phase.PLACING | Phase.DIALLING, facts.ConnectAnswered(meta_id=meta_id):",
        "case Phase.NEW, facts.ConnectAnswered(meta_id=meta_id):",
        an_id_of_metas_is_never_overlooked_before_we_know_one,
        placing,
    ),
    Mutant(
        "forgets that a connect overtook its withdrawal",
        'granted = replace(call, granted=True, farewell="terminate")',
        "granted = replace(call, granted=True, farewell=None)",
        None,
        placing,
    ),
    Mutant(
        "takes what a restored log does not tell for what never was",
        "case Phase.DIALLING, facts.LogRestored():",
        "case Phase.NEW, facts.LogRestored():",
        a_restored_log_leaves_a_connect_in_doubt,
        placing,
    ),
    Mutant(
        "does not look for a call that may be there",
        "return _unsure(call, at_ms), ()",
        "return settle(replace(call, farewell=None))",
        a_call_that_may_be_there_is_waited_for,
        placing,
    ),
    Mutant(
        "takes a far side that left before pick-up for a failure of ours",
        "case Phase.CALLING, facts.LegFailed(reason=facts.PEER_CLOSED, at_ms=at_ms) if not call.picked_up:",
        "case Phase.NEW, facts.LegFailed(reason=facts.PEER_CLOSED, at_ms=at_ms) if not call.picked_up:",
        a_far_side_that_leaves_before_pick_up_did_not_pick_up,
        placing,
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_mutant_is_noticed_that(mutant: Mutant) -> None:
    transition = mutate(mutant)
    holds = mutant.noticed_by
    if holds is None:
        world = type("MutantWorld", (Placing,), {"transition": staticmethod(transition)})
        with pytest.raises(AssertionError):
            run_state_machine_as_test(world, settings=HUNT)
        return

    @HUNT
    @given(tellings=_tellings)
    def check(tellings: Sequence[Told]) -> None:
        holds(lived(transition, tellings, usual_after))

    with pytest.raises(AssertionError):
        check()


def test_every_property_of_calls_we_place_has_a_mutant_that_it_notices() -> None:
    assert set(PLACING) - {mutant.noticed_by for mutant in MUTANTS} == set()
