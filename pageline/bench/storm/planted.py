"""Runs one of our processes with a bug in it: `python -m pageline.bench.storm.planted BUG PROCESS`.

The product has no switch for this. Each bug takes one mechanism out of the process that it is loaded into, so that the
storm's figure for it can be seen to turn red.
"""

import asyncio
import sys
from typing import Final

from pageline import cli
from shared import bus
from shared.wire import Script

DOUBLE_ACCEPT: Final = "double-accept"
LOSE_WEBHOOK: Final = "lose-webhook"
NO_TAKEOVER: Final = "no-takeover"

BUGS: Final[dict[str, tuple[str, ...]]] = {
    DOUBLE_ACCEPT: ("action",),
    LOSE_WEBHOOK: ("web",),
    NO_TAKEOVER: ("web", "media", "action"),
}
"""What can be planted, and in which processes."""


def double_accept() -> None:
    """Deliver each accept to two at once, as RQ may, and have the fence forget what it granted."""
    from workers.action import jobs

    _rewrite("fence", "if not h[3] and (action", "if action == 'accept' or not h[3] and (action")
    act = jobs.act

    async def act_twice(
        desk: jobs.Desk, call_id: str, page: str, action: str, epoch: int, deadline_ms: int, number: int = 0
    ) -> str:
        times = 2 if action == "accept" else 1
        runs = [act(desk, call_id, page, action, epoch, deadline_ms, number) for _ in range(times)]
        return (await asyncio.gather(*runs))[0]

    jobs.act = act_twice


def lose_webhook() -> None:
    """In one millisecond of fifty, say of a webhook that it was kept when it was not."""
    keep = "local seq = append(call, fact, epoch)\nif seq == 1 then"
    _rewrite("route", keep, f"if epoch == '0' and now % 50 == 0 then return {{'logged', 0}} end\n{keep}")


def no_takeover() -> None:
    """Let the calls of dead workers lie."""
    _rewrite("beat", "'-inf', now, 'LIMIT', 0, 4)", "'-inf', '-inf', 'LIMIT', 0, 4)")


def _rewrite(step: str, mechanism: str, instead: str) -> None:
    """Have a step loaded with other text."""
    load = bus.script

    def load_rewritten(name: str) -> Script:
        script = load(name)
        if name != step:
            return script
        assert script.source.count(mechanism) == 1, f"{step}.lua no longer holds {mechanism!r}: mend this plant"
        return Script(script.source.replace(mechanism, instead))

    bus.script = load_rewritten


def plant(bug: str) -> None:
    """Take one mechanism out of this process."""
    {DOUBLE_ACCEPT: double_accept, LOSE_WEBHOOK: lose_webhook, NO_TAKEOVER: no_takeover}[bug]()


if __name__ == "__main__":
    plant(sys.argv.pop(1))
    cli.main()
