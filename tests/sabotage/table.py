"""What each promise rests on, and which test goes red without it.

A sabotage takes out one mechanism and nothing beside it. Its tests look from the consumer's or Graph's side where that
takes seconds, and at the step that keeps the promise where the other side cannot see it alone.
"""

from typing import Final

from tests.sabotage.sabotage import Sabotage

ACTION_WORKER: Final = "tests/chaos/test_action_worker.py::"
BREAKER: Final = "tests/integration/test_breaker.py::"
BUS: Final = "tests/contract/test_bus.py::"
DEAD_LETTERS: Final = "tests/acceptance/test_dead_letters.py::"
DEPLOY: Final = "tests/chaos/test_deploy.py::"
FAILOVER: Final = "tests/chaos/test_failover.py::"
FROZEN: Final = "tests/chaos/test_frozen_worker.py::"
GRAPH: Final = "tests/chaos/test_graph.py::"
JOBS: Final = "tests/integration/test_jobs.py::"
MEDIA_WORKER: Final = "tests/chaos/test_media_worker.py::"
ORDER: Final = "tests/acceptance/test_order.py::"
OVERLOAD: Final = "tests/acceptance/test_overload.py::"
REDIS: Final = "tests/chaos/test_redis.py::"
TROUBLE: Final = "tests/acceptance/test_trouble.py::"
WEBHOOKS: Final = "tests/chaos/test_webhooks.py::"

OUTAGE: Final = (
    f"{REDIS}test_an_outage_of_several_leases_costs_nobody_their_call_and_webhooks_are_taken_when_it_is_over"
)
EXPIRED_TOKEN: Final = (
    f"{DEAD_LETTERS}test_an_expired_token_is_told_keeps_nobody_from_being_answered_and_its_farewells_are_said_later"
)
KILLED_WHILE_LIVE: Final = f"{MEDIA_WORKER}test_a_live_call_whose_worker_is_killed_is_ended_in_time_and_on_lost_runs"

SABOTAGES: Final = (
    # -- 1: what was answered 200 is in its call's log
    Sabotage(
        promise=1,
        sentence="The 200 leaves before the log is written, which follows a moment later",
        file="ingress/webhook.py",
        mechanism='            await self._store(received, body, signed or b"")\n',
        without=(
            '            storing = self._store(received, body, signed or b"")\n'
            "            asyncio.get_running_loop().call_later(0.05, asyncio.ensure_future, storing)\n"
        ),
        tests=(f"{WEBHOOKS}test_nothing_that_was_answered_200_is_lost_with_the_web_process",),
    ),
    Sabotage(
        promise=1,
        sentence="The embedded Valkey writes no append-only file",
        file="shared/embedded.py",
        mechanism="appendonly yes",
        without="appendonly no",
        tests=(f"{WEBHOOKS}test_nothing_that_was_answered_200_is_lost_when_everything_dies_at_once_redis_included",),
    ),
    Sabotage(
        promise=1,
        sentence="What no replica holds counts as written",
        file="shared/confirmed_link.py",
        mechanism="if failure is None and confirmed.result() < self._replicas:",
        without="if failure is None and confirmed.result() < 0:",
        tests=(f"{FAILOVER}test_conversations_outlive_their_primary_and_nobody_is_answered_twice",),
    ),
    # -- 2: at most one accept
    Sabotage(
        promise=2,
        sentence="The fence forgets whom it granted the accept",
        file="shared/lua/fence.lua",
        mechanism="  redis.call('HSET', key, 'accept', token)\n",
        without="",
        tests=(
            f"{JOBS}test_a_job_that_runs_a_third_time_sends_nothing",
            f"{BUS}test_of_many_jobs_that_ask_at_once_one_may_accept",
        ),
    ),
    Sabotage(
        promise=2,
        sentence="A farewell does not bar the accept",
        file="shared/lua/fence.lua",
        mechanism="  redis.call('HSET', key, 'accept', 'barred')\n",
        without="",
        tests=(f"{JOBS}test_an_accept_after_a_farewell_is_refused_and_sends_nothing",),
    ),
    Sabotage(
        promise=2,
        sentence="The log takes every repeat of a webhook for news",
        file="shared/lua/route.lua",
        mechanism="if identity ~= '' and redis.call('HSETNX', key, 's:' .. identity, 1) == 0 then",
        without="if false then",
        tests=(f"{ORDER}test_the_same_post_a_hundred_times_at_once_is_one_arrival_and_one_accept",),
    ),
    # -- 3: exactly one outcome, and no dead air
    Sabotage(
        promise=3,
        sentence="Nothing is due between the accept and the conversation",
        file="shared/calls/machine.py",
        mechanism="leg_open=True, deadline_ms=live_by_ms)",
        without="leg_open=True, deadline_ms=None)",
        tests=(f"{GRAPH}test_a_call_whose_accept_is_never_answered_is_terminated_before_the_silence_is_too_long",),
    ),
    Sabotage(
        promise=3,
        sentence="Nobody looks after the jobs of an action worker that died",
        file="workers/action/pool.py",
        mechanism="self._upkeep.look_after(queue, self._exc_handlers)",
        without="pass",
        tests=(f"{ACTION_WORKER}test_a_terminate_that_died_with_its_worker_is_sent_by_another",),
    ),
    Sabotage(
        promise=3,
        sentence="Deadlines pass without becoming facts",
        file="shared/lua/beat.lua",
        mechanism="  if h[1] == 'open' then\n",
        without="  if false then\n",
        tests=(f"{TROUBLE}test_a_call_that_finds_no_room_is_rejected_on_the_record_and_the_one_before_goes_on",),
    ),
    Sabotage(
        promise=3,
        sentence="However long Redis stays away, the conversation goes on",
        file="workers/media/worker.py",
        mechanism='                            held.performer.leave("redis_away")\n',
        without="                            pass\n",
        tests=(f"{REDIS}test_an_outage_beyond_the_grace_ends_the_conversation_then_and_tells_meta_when_it_is_over",),
    ),
    # -- 4: calls of a dead media worker
    Sabotage(
        promise=4,
        sentence="Nobody takes over the calls of the dead",
        file="shared/lua/beat.lua",
        mechanism="HSET', hash(call), 'end', 1) end\n      place(call)\n",
        without="HSET', hash(call), 'end', 1) end\n",
        tests=(KILLED_WHILE_LIVE,),
    ),
    Sabotage(
        promise=4,
        sentence="The successor does not run on_lost",
        file="workers/media/succession.py",
        mechanism="        if script.on_lost is None:\n",
        without="        if True:\n",
        tests=(KILLED_WHILE_LIVE,),
    ),
    Sabotage(
        promise=4,
        sentence="A call that can only be ended waits until somebody has room for it",
        file="shared/lua/beat.lua",
        mechanism=(
            "      if redis.call('HEXISTS', hash(call), 'accept') == 1 then"
            " redis.call('HSET', hash(call), 'end', 1) end\n"
        ),
        without="",
        tests=(f"{BUS}test_an_accepted_call_of_a_dead_worker_is_taken_over_by_a_full_one",),
    ),
    # -- 5: deploys
    Sabotage(
        promise=5,
        sentence="A worker that drains keeps what it has not accepted",
        file="workers/media/worker.py",
        mechanism="            if not held.accepted:\n                held.returning",
        without="            if False:\n                held.returning",
        tests=(f"{DEPLOY}test_a_draining_worker_hands_back_what_it_has_not_accepted[2]",),
    ),
    Sabotage(
        promise=5,
        sentence="A media worker knows no SIGINT",
        file="workers/media/main.py",
        mechanism="for number in (signal.SIGTERM, signal.SIGINT):",
        without="for number in (signal.SIGTERM,):",
        tests=(f"{DEPLOY}test_a_draining_worker_hands_back_what_it_has_not_accepted[2]",),
    ),
    Sabotage(
        promise=5,
        sentence="A worker that drains lets no conversation end by itself",
        file="workers/media/worker.py",
        mechanism="self._until_empty(self._held.values(), self._settings.drain_seconds)",
        without="self._until_empty(self._held.values(), 0)",
        tests=(
            f"{DEPLOY}test_a_draining_worker_lets_live_calls_end_by_themselves_and_terminates_the_rest_in_time[15]",
        ),
    ),
    Sabotage(
        promise=5,
        sentence="A worker that drains hangs up without a word",
        file="workers/media/performer.py",
        mechanism="await last_words.say(self.live, last_words.LAST_WORDS)",
        without="return",
        tests=(
            f"{DEPLOY}test_a_draining_worker_lets_live_calls_end_by_themselves_and_terminates_the_rest_in_time[15]",
        ),
    ),
    Sabotage(
        promise=5,
        sentence="The action worker leaves although somebody who drains still has farewells to send",
        file="workers/action/main.py",
        mechanism="            while await _somebody_drains(bus):",
        without="            while False:",
        tests=(f"{TROUBLE}test_processes_told_to_end_all_together_still_say_goodbye_to_a_caller",),
    ),
    # -- 6: frozen workers
    Sabotage(
        promise=6,
        sentence="A worker that wakes speaks before it knows whether its calls are still its own",
        file="workers/media/worker.py",
        mechanism="        return self._froze_ms is None and not self._ticker.froze\n",
        without="        return True\n",
        tests=(f"{FROZEN}test_a_frozen_worker_that_wakes_sends_one_tick_at_the_most_and_no_goodbye[1002]",),
    ),
    Sabotage(
        promise=6,
        sentence="The log takes what is said under an epoch that is over",
        file="shared/lua/route.lua",
        mechanism="if epoch ~= '0' and epoch ~= current then",
        without="if false then",
        tests=(f"{FROZEN}test_what_a_frozen_worker_says_when_it_wakes_is_refused_by_the_log",),
    ),
    Sabotage(
        promise=6,
        sentence="The fence lets an epoch act that is over",
        file="shared/lua/fence.lua",
        mechanism="if h[1] ~= epoch or h[4] == 'closed' then",
        without="if h[4] == 'closed' then",
        tests=(f"{JOBS}test_an_epoch_that_is_over_sends_nothing_and_says_nothing[accept]",),
    ),
    # -- 7: outages of Redis
    Sabotage(
        promise=7,
        sentence="The web process answers 200 although Redis did not take the webhook",
        file="ingress/webhook.py",
        mechanism="            return _UNAVAILABLE\n",
        without="            return _OK\n",
        tests=("tests/integration/test_ingress.py::test_while_redis_is_away_it_answers_503_and_never_200",),
    ),
    Sabotage(
        promise=7,
        sentence="After an outage everybody's lease counts as over",
        file="shared/lua/beat.lua",
        mechanism="if now - last > MISSED_MS then",
        without="if false then",
        tests=(OUTAGE,),
    ),
    Sabotage(
        promise=7,
        sentence="Nobody tells an emptied Redis the calls it has forgotten",
        file="workers/media/worker.py",
        mechanism="if not known or not await patiently(step):",
        without="if True:",
        tests=(f"{REDIS}test_a_redis_that_comes_back_empty_ends_conversations_politely_and_everything_else_goes_on",),
    ),
    Sabotage(
        promise=7,
        sentence="A worker that was cut off alone is not told that its calls have new owners",
        file="shared/lua/beat.lua",
        mechanism="    if not lease_end or lease_end == '-inf' then return {'fenced', now, memory} end\n",
        without="",
        tests=(
            f"{REDIS}test_a_worker_cut_off_alone_loses_its_calls_after_its_lease_and_falls_silent_without_a_goodbye",
        ),
    ),
    # -- 8: troubles of Graph
    Sabotage(
        promise=8,
        sentence="A farewell is said once",
        file="workers/action/errand.py",
        mechanism="        if left_s <= 0 or not isinstance(error, TryAgain | RedisAway):\n",
        without="        if self.action in FAREWELLS:\n",
        tests=(f"{GRAPH}test_a_goodbye_is_said_again_until_graph_is_there_and_takes_it",),
    ),
    Sabotage(
        promise=8,
        sentence="What Graph refuses for good is kept nowhere",
        file="workers/action/jobs.py",
        mechanism="        await patiently(lambda: desk.bus.bury(outcome.letter(errand, end)))\n",
        without="        pass\n",
        tests=(EXPIRED_TOKEN,),
    ),
    Sabotage(
        promise=8,
        sentence="A breaker that has tripped stays so",
        file="shared/breaker.py",
        mechanism='("DEL", _run(page))',
        without='("EXPIRE", _run(page), REMEMBERED_S)',
        tests=(f"{BREAKER}test_a_tripped_breaker_gates_nothing_and_one_success_resets_it",),
    ),
    Sabotage(
        promise=8,
        sentence="A web process whose Graph refuses calls itself not ready",
        file="ingress/health.py",
        mechanism='                "calls_waiting": census.waiting,\n            }\n',
        without=(
            '                "calls_waiting": census.waiting,\n'
            "            },\n"
            "            status_code=503 if degraded else 200,\n"
        ),
        tests=(f"{BREAKER}test_a_run_of_refusals_is_shown_as_degraded_with_cause_and_remedy",),
    ),
    # -- 9: order
    Sabotage(
        promise=9,
        sentence="Whichever media_update comes last is applied",
        file="shared/calls/machine.py",
        mechanism="if version <= call.media_version:",
        without="if version < 0:",
        tests=(f"{ORDER}test_of_media_updates_out_of_order_each_higher_one_is_applied_once_and_the_highest_stays",),
    ),
    Sabotage(
        promise=9,
        sentence="A media_update that overtakes the reply to accept is forgotten",
        file="shared/calls/machine.py",
        mechanism="                apply += (orders.ApplyOffer(call.pending_offer),)\n",
        without="                pass\n",
        tests=(f"{ORDER}test_media_updates_that_overtake_the_reply_to_accept_wait_for_it_and_the_highest_is_applied",),
    ),
    Sabotage(
        promise=9,
        sentence="An ending that nothing came before is nobody's business",
        file="shared/bus.py",
        mechanism='                wants = "end"\n',
        without='                wants = ""\n',
        tests=(f"{ORDER}test_a_call_that_ended_before_it_came_never_rings",),
    ),
    # -- 10: overload
    Sabotage(
        promise=10,
        sentence="A worker takes calls however late its ticks run",
        file="workers/media/load.py",
        mechanism="        return capacity if not self.overloaded else 0 if held else 1\n",
        without="        return capacity\n",
        tests=(f"{OVERLOAD}test_a_worker_whose_ticks_run_late_takes_nobody_in_until_they_run_in_time",),
    ),
    Sabotage(
        promise=10,
        sentence="A full worker is given calls",
        file="shared/lua/prelude.lua",
        mechanism="if tonumber(best[i + 1]) <= 0 and not ending then return nil end",
        without="",
        tests=(f"{TROUBLE}test_a_call_that_finds_no_room_is_rejected_on_the_record_and_the_one_before_goes_on",),
    ),
    Sabotage(
        promise=10,
        sentence="Who waited in vain is sent away without a word to Meta",
        file="shared/calls/machine.py",
        mechanism='    return None if at_ms - call.sent_at_ms > LONG_OVER_MS else "reject"\n',
        without="    return None\n",
        tests=(f"{TROUBLE}test_a_call_that_finds_no_room_is_rejected_on_the_record_and_the_one_before_goes_on",),
    ),
    Sabotage(
        promise=10,
        sentence="Of a rush everybody is taken up in the same tick",
        file="workers/media/worker.py",
        mechanism="        await self._doorway.enter()\n",
        without="",
        tests=("tests/chaos/test_rush.py::test_of_a_rush_one_is_taken_up_after_the_other",),
    ),
)
