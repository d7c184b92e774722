"""Leads a caller through a plan, menu by menu."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from pageline import Call
from workers.handlers.plan import Action, Menu, Plan
from workers.handlers.voicemail import TERMS, take_voicemail

MOST_FALLBACKS: Final = 5
"""Menus on end in which nobody pressed a key of theirs; then nobody is there, or nobody who can."""


async def guide(call: Call, plan: Plan, moment: datetime) -> None:
    """Answer, and lead the caller through a plan as it is at a moment; returning hangs up."""
    await call.answer()
    action, menu, fallbacks = plan.at(moment), None, 0
    while True:
        await call.play(*action.play)
        if action.voicemail is not None:
            await take_voicemail(call, replace(TERMS, greeting=action.voicemail or TERMS.greeting))
            return
        menu = plan.menus[action.menu] if action.menu else menu
        if action.hang_up or menu is None or fallbacks == MOST_FALLBACKS:
            return
        chosen = await _choice(call, menu)
        fallbacks = 0 if chosen else fallbacks + 1
        action = chosen or menu.fallback


async def _choice(call: Call, menu: Menu) -> Action | None:
    """Return what was chosen, or None."""
    for _ in range(menu.tries):
        key = await call.ask(*menu.prompt, timeout_s=menu.timeout_s, finish_on="")
        if key in menu.keys:
            return menu.keys[key]
        if key:
            await call.play(*menu.unknown)
    return None
