"""Changes of a call's media, Meta's and ours, in any order: the highest version wins, and the call goes on."""

from dataclasses import dataclass, field
from typing import ClassVar, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from shared.calls import changing, facts, machine, orders, state
from shared.calls.changing import CONFLICT, version_of
from tests.property.test_machine import HUNT, Mutant, Transition, mutate

NOON_MS: Final = 1_700_000_000_000


@dataclass
class Meta:
    """Counts one version for both sides' changes, and the accept where it does."""

    version: int
    changed: int = -1
    webhooks: list[facts.MediaChanged] = field(default_factory=list)

    def change(self) -> None:
        self.version += 1
        self.changed = self.version
        self.webhooks.append(facts.MediaChanged(version=self.version, sdp=f"meta {self.version}"))

    def take(self, version: int, heard: int) -> facts.Fact:
        """Take a change of ours, unless it is made from another version or does not go on from what is there."""
        if version != self.version or heard < self.changed:
            return facts.ActionFailed(action="media_update", cause=CONFLICT)
        self.version += 1
        return facts.MediaAnswered(version=self.version, sdp=f"answer {self.version}")


class Conversation(RuleBasedStateMachine):
    """A live call: consumer and handler change its media as they like; webhooks and replies come when they come."""

    transition: ClassVar[Transition] = staticmethod(machine.transition)

    @initialize(counted=st.integers(0, 1), known=st.booleans())
    def begin(self, counted: int, known: bool) -> None:
        self.meta = Meta(counted)
        self.start = counted if known else 0
        self.call = state.Call()
        self.log: list[facts.Fact] = []
        self.now_ms = NOON_MS
        self.posted: orders.PostAction | None = None
        self.reply: facts.Fact | None = None
        self.again = self.lost = False
        self.wishes = self.answered = self.attempts = 0
        self.applied: list[int] = []
        self.take(
            facts.Arrived(page="1", consumer="2", direction="user_initiated", sent_at_ms=0, answer_by_ms=NOON_MS * 2)
        )
        self.take(facts.Claimed(worker="one", epoch=1))
        self.take(facts.OfferMade(sdp="offer"))
        self.take(facts.AnswerReceived(sdp="answer"))
        self.take(facts.LegConnected(setup_ms=1))

    def take(self, fact: facts.Fact) -> None:
        self.log.append(fact)
        self.call, todo = type(self).transition(self.call, replace(fact, at_ms=self.now_ms))
        for order in todo:
            match order:
                case orders.PostAction(action="media_update"):
                    assert self.posted is None, "one change of ours at a time"
                    self.posted = order
                    self.attempts += 1
                    assert self.attempts <= changing.ATTEMPTS
                case orders.ApplyOffer(sdp=sdp):
                    self.apply(sdp)
                case orders.ApplyChange(sdp=sdp):
                    self.settle()
                    if sdp is not None:
                        self.apply(sdp)
                case orders.ChangeAgain():
                    self.posted, self.again = None, True
                case orders.RefuseChange():
                    self.settle()
                case _:
                    pass

    @property
    def heard(self) -> int:
        """What the offer that is out was made with."""
        return next(fact.heard for fact in reversed(self.log) if isinstance(fact, facts.MediaOffered))

    def apply(self, sdp: str) -> None:
        version = int(sdp.rsplit(maxsplit=1)[-1])
        assert version > max(self.applied, default=-1), "what was applied is never older than what was before"
        self.applied.append(version)

    def settle(self) -> None:
        self.posted, self.attempts = None, 0
        self.answered += 1

    @rule()
    def the_consumer_changes_something(self) -> None:
        self.meta.change()

    @precondition(lambda self: self.meta.webhooks)
    @rule(data=st.data(), sent_again=st.booleans())
    def a_webhook_comes(self, data: st.DataObject, sent_again: bool) -> None:
        webhook = data.draw(st.sampled_from(self.meta.webhooks))
        if not sent_again:
            self.meta.webhooks.remove(webhook)
        self.take(webhook)

    @precondition(lambda self: self.wishes == self.answered)
    @rule()
    def the_handler_wants_a_change(self) -> None:
        self.wishes += 1
        self.take(facts.MediaOffered(sdp="ours", heard=self.call.media_version, epoch=1))

    @precondition(lambda self: self.again)
    @rule()
    def the_change_is_made_anew(self) -> None:
        self.again = False
        self.take(facts.MediaOffered(sdp="ours", heard=self.call.media_version, epoch=1))

    @precondition(lambda self: self.posted is not None and self.reply is None)
    @rule(mood=st.sampled_from(("", "", "", "", "lost", "refused", "silence")), at_once=st.booleans())
    def the_change_reaches_meta(self, mood: str, at_once: bool) -> None:
        if mood == "refused":
            self.reply = facts.ActionFailed(action="media_update", cause="graph", message="no")
            return
        if mood == "silence":
            assert self.call.deadline_ms is not None
            self.now_ms = max(self.now_ms, self.call.deadline_ms)
            self.take(facts.DeadlinePassed(deadline_ms=self.call.deadline_ms))
            assert self.posted is None, "it is given up"
            return
        reply = self.meta.take(version_of(self.log, self.start), self.heard)
        if mood == "lost":  # and asked for once more
            self.lost |= isinstance(reply, facts.MediaAnswered)
            reply = self.meta.take(version_of(self.log, self.start), self.heard)
        self.reply = reply
        if at_once:
            self.the_reply_comes()
            if self.again:
                self.the_change_is_made_anew()

    @rule()
    def redis_takes_an_offer_twice(self) -> None:
        if self.posted is not None:
            self.take(facts.MediaOffered(sdp="ours", heard=self.call.media_version, epoch=1))

    @precondition(lambda self: self.reply is not None)
    @rule()
    def the_reply_comes(self) -> None:
        reply, self.reply = self.reply, None
        assert reply is not None
        self.take(replace(reply, epoch=1))

    def teardown(self) -> None:
        """Let everything come that is under way, in a quiet world, and look back."""
        if not hasattr(self, "call"):
            return
        for webhook in list(self.meta.webhooks):
            self.take(webhook)
        while self.posted is not None or self.again:
            if self.again:
                self.the_change_is_made_anew()
            elif self.reply is not None:
                self.the_reply_comes()
            else:
                self.the_change_reaches_meta("", at_once=False)
        assert self.wishes == self.answered, "every change is taken or refused"
        assert self.call.phase is state.Phase.LIVE, "the conversation goes on"
        assert self.call.deadline_ms is None
        if not self.lost:
            assert self.applied[-1:] == ([self.meta.version] if self.applied else []), "the highest version wins"
        self.take(facts.MediaOffered(sdp="ours", heard=self.call.media_version, epoch=1))
        version = self.meta.version
        while self.posted is not None or self.again:
            self.the_change_is_made_anew() if self.again else self.the_change_reaches_meta("", at_once=False)
            if self.reply is not None:
                self.the_reply_comes()
        if not self.lost and self.attempts == 0:
            assert self.meta.version == version + 1, "a quiet Meta takes a change"


@pytest.mark.meta("6.3-counts")
def test_whatever_comes_in_whatever_order_the_highest_version_wins_and_the_call_goes_on() -> None:
    run_state_machine_as_test(Conversation, settings=settings(max_examples=400, stateful_step_count=30, deadline=None))


MUTANTS: Final = (
    Mutant(
        "applies an overtaken answer", "overtaken = call.media_version > version", "overtaken = False", None, changing
    ),
    Mutant(
        "has two out", "MediaOffered(at_ms=at_ms) if not call.media_out", "MediaOffered(at_ms=at_ms)", None, changing
    ),
    Mutant("waits for ever", "DeadlinePassed() if call.media_out", "DeadlinePassed() if call.closing", None, changing),
    Mutant(
        "never gives up", "cause == CONFLICT and call.media_attempts < ATTEMPTS", "cause == CONFLICT", None, changing
    ),
    Mutant("forgets that it tries again", "return _back(call), (orders.C", "return call, (orders.C", None, changing),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_mutant_is_noticed_that(mutant: Mutant) -> None:
    world = type("Mutated", (Conversation,), {"transition": staticmethod(mutate(mutant))})
    hunt = settings(HUNT, stateful_step_count=30)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(world, settings=hunt)


@pytest.mark.meta("6.3-start", "6.3-renegotiation")
def test_after_a_conflict_the_other_reading_of_metas_pages_is_tried() -> None:
    conflict = facts.ActionFailed(action="media_update", cause=CONFLICT)
    heard = facts.MediaChanged(version=4, sdp="")
    ours = facts.MediaAnswered(version=7, sdp="v=0")

    def version(*log: facts.Fact, knowing: int = 9, start: int = 0) -> int:
        return version_of([*log, facts.MediaOffered(heard=knowing)], start)

    assert version() == 0
    assert version(start=1) == 1
    assert version(conflict) == 1, "Meta may have counted the accept"
    assert version(conflict, conflict) == 0
    assert version(heard) == 4
    assert version(heard, knowing=3) == 0, "the offer was made before it was heard"
    assert version(heard, conflict) == 4, "another change of Meta's is on its way"
    assert version(conflict, heard) == 4
    assert version(heard, ours) == 7
    assert version(heard, ours, facts.MediaAnswered(version=0)) == 7, "tracks were switched"
    assert version(heard, ours, conflict) == 4, "the last version that was seen in a webhook"
    assert version(heard, ours, facts.MediaChanged(version=5, sdp="late")) == 7
    assert version(heard, ours, facts.MediaChanged(version=8, sdp="")) == 8
    assert version(ours, facts.ActionFailed(action="accept", cause=CONFLICT)) == 7
    offered_back = facts.MediaAnswered(version=2, sdp="v=0", renegotiation="v=0")
    assert [version(offered_back, *[conflict] * times) for times in range(3)] == [3, 2, 3]
