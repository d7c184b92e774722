"""Agents of the desk in a live call; pure, as `machine`, which calls it.

Nothing here moves the call to another phase: when an agent goes, the handler says what becomes of the call. A call
that ends closes the legs of its agents with its own.
"""

from msgspec.structs import replace

from shared.calls import agent_facts, orders
from shared.calls.ending import Step
from shared.calls.state import AgentLeg, Call


def transition(call: Call, fact: agent_facts.Attended) -> Step:
    """Return the next state and what must now be done, for a call that is live."""
    known = next((each for each in call.agents if each.leg == getattr(fact, "leg", None)), None)
    match fact:
        case agent_facts.AgentAsked(leg=leg, agent=agent, listens=listens) if known is None:
            asked = AgentLeg(leg=leg, agent=agent, listens=listens)
            return replace(call, agents=(*call.agents, asked)), (orders.OfferAgent(leg, agent, listens),)
        case _ if known is None:
            return call, ()
        case agent_facts.AgentOffered():
            return _with(call, replace(known, offered=True)), ()
        case agent_facts.AgentAnswered() if not known.offered or known.answered or known.leaving:
            return call, ()
        case agent_facts.AgentAnswered(leg=leg, sdp=sdp):
            return _with(call, replace(known, answered=True)), (orders.ConnectAgent(leg, sdp),)
        case agent_facts.AgentConnected():
            return _with(call, replace(known, connected=True)), ()
        case agent_facts.AgentLeft(leg=leg):
            return replace(call, agents=tuple(each for each in call.agents if each.leg != leg)), ()
        case agent_facts.PartingAsked(leg=leg, because=because) if not known.leaving:
            return _with(call, replace(known, leaving=True)), (orders.PartFromAgent(leg, because),)
        case _ if not known.connected or known.listens or known.leaving:
            return call, ()
        case agent_facts.HoldAsked(leg=leg, on=on) if on != known.holds:
            return _with(call, replace(known, holds=on)), (orders.HoldCaller(leg, on),)
        case agent_facts.TransferAsked(leg=leg, queue=queue, agent=agent):
            return _with(call, replace(known, leaving=True)), (orders.GiveAway(leg, queue, agent),)
        case _:
            return call, ()


def _with(call: Call, changed: AgentLeg) -> Call:
    return replace(call, agents=tuple(changed if each.leg == changed.leg else each for each in call.agents))
