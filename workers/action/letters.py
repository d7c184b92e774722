"""The job behind `pageline dead retry`: another try of what a dead letter is about.

The letter is read here and stays until the outcome is known; whoever dies meanwhile leaves it where it is, and the job
runs again.
"""

from typing import Final

from msgspec.structs import replace

from shared import log
from shared.calls.ending import FAREWELLS
from shared.dead import Gone, Letter
from shared.wire import patiently
from workers.action import outcome, records
from workers.action.desk import Desk
from workers.action.errand import Errand, GivenUp
from workers.action.experience import note_failure, note_success
from workers.action.jobs import pass_on

ATTEMPTS_KEPT: Final = 100

_log = log.get()


async def retry(desk: Desk, letter_id: str, deadline_ms: int) -> str:
    """Try again what the letter is about: it goes if that succeeds, and gives its place to a newer one if not."""
    letters = desk.bus.dead_letters
    letter = await patiently(lambda: letters.find(letter_id))
    if letter is None:
        return "gone"
    if letter.action in FAREWELLS:
        failed = await _say_farewell(desk, letter, deadline_ms)
    elif letter.why == "not_forwarded" and desk.forward_url:
        failed = await pass_on(desk, letter.body, letter.signature)
    elif letter.why == records.WHY and letter.body:
        failed = await records.retry(desk.sinks, letter)
    else:
        return "not retriable"
    if failed is None:
        await patiently(lambda: letters.unbury(letter_id, Gone.RETRIED))
        _log.info("dead_letter.settled", letter=letter_id, call=letter.call_id or None, action=letter.action or None)
        return "settled"
    newer = replace(
        failed,
        attempts=(*letter.attempts, *failed.attempts)[-ATTEMPTS_KEPT:],
        first_buried_ms=letter.first_buried_ms or letter.buried_ms,
    )
    await patiently(lambda: letters.bury(newer, instead_of=letter_id))
    _log.warning("dead_letter.failed_again", letter=letter_id, because=failed.detail)
    return "failed"


async def _say_farewell(desk: Desk, letter: Letter, deadline_ms: int) -> Letter | None:
    """End a call at Meta under no epoch: its ending was decided long ago, and nothing else can be left of it."""
    errand = Errand(desk, letter.call_id, letter.page, letter.action, letter.epoch, deadline_ms, fenced=False)
    try:
        attempt = await errand.run()
    except GivenUp as end:
        because = outcome.explanation(errand, end)
        await note_failure(desk, letter.page, end.attempt, cause=end.cause, because=because)
        return outcome.letter(errand, end)
    if await patiently(lambda: desk.bus.read_log(letter.call_id)):  # it may be forgotten by now
        fact = outcome.settled(errand, attempt)
        await patiently(lambda: desk.bus.route(letter.call_id, fact, identity=f"retry:{letter.id}"))
    await note_success(desk, letter.page, attempt)
    return None
