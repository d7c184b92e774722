"""How any call ends: its outcome is fixed, Meta is told, handler and leg stop, and then it is closed."""

from msgspec.structs import replace

from shared.calls import facts, orders
from shared.calls.state import Call, Outcome, Phase

FAREWELLS = frozenset({"reject", "terminate"})
"""Actions that tell Meta that a call is over."""

FAREWELL_USEFUL_MS = 600_000
"""`terminate` and `reject` are tried for ten minutes."""

FAREWELL_SLACK_MS = 15_000
"""What a farewell's last attempt may take beyond its useful life, before the call is closed without it."""

UNSURE_MS = 90_000
"""How long a call that Graph may have taken without saying so is looked for, to be ended: longer than any rings."""

Step = tuple[Call, tuple[orders.Order, ...]]


def end(call: Call, outcome: Outcome, farewell: str | None, at_ms: int, *first: orders.Order) -> Step:
    """Fix the outcome and order whatever still has to stop, be closed, or be told to Meta."""
    todo = [*first, *say_farewell(call, farewell, at_ms)]
    if call.handler_running:
        todo.append(orders.StopHandler(outcome))
    if call.leg_open:
        todo.append(orders.CloseLeg())
    deadline_ms = at_ms + FAREWELL_USEFUL_MS + FAREWELL_SLACK_MS
    ending = replace(call, phase=Phase.ENDING, outcome=outcome, farewell=farewell, deadline_ms=deadline_ms)
    return settle(ending, *todo)


def settle(call: Call, *todo: orders.Order) -> Step:
    """Order the close once nothing runs and nothing is owed."""
    if call.handler_running or call.leg_open or call.farewell or call.closing or call.outcome is None:
        return call, todo
    return replace(call, closing=True), (*todo, orders.CloseCall(call.outcome))


def goodbye(call: Call) -> str | None:
    """What tells Meta that we end the call: what was granted is terminated, what rings here is rejected.

    A call that we place and that may not have reached Meta yet is withdrawn; one that was never offered needs no word.
    """
    if call.granted:
        return "terminate"
    if call.placed:
        return "withdraw" if call.phase is Phase.DIALLING else None
    return "reject"


def say_farewell(call: Call, farewell: str | None, at_ms: int) -> tuple[orders.Order, ...]:
    """Order the farewell; one to a call that we placed has to wait until Meta's id of it is known, or was found."""
    match farewell:
        case None:
            return ()
        case "withdraw":
            return (orders.Withdraw(),)
        case _ if call.placed and not call.meta_id:
            return (orders.Seek(UNSURE_MS),)
        case _:
            return (orders.PostAction(farewell, at_ms + FAREWELL_USEFUL_MS),)


def is_due(call: Call, fact: facts.DeadlinePassed) -> bool:
    """Tell whether it is the armed deadline that passed."""
    return call.deadline_ms is not None and fact.deadline_ms >= call.deadline_ms
