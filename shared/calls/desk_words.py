"""What agents of the desk did with a call, in words."""

from typing import Final

from shared.calls import agent_facts, facts

_BECAUSE: Final = {
    "hung_up": "the agent hung up",
    "left": "the supervisor stopped listening",
    "transferred": "the call was transferred",
    "call_ended": "the call ended",
    "connection_lost": "the agent's connection was lost",
    "failed": "no connection could be made",
}


def in_words(fact: facts.Fact) -> str:
    """Return what the fact says, or "" where it is none of the desk's."""
    match fact:
        case agent_facts.Queued(queue=queue, agent=agent):
            return f"waits for {agent}, queue {queue}" if agent else f"waits in queue {queue}"
        case agent_facts.AgentAsked(agent=agent, leg=leg, queue=queue, listens=listens):
            return f"{agent} listens in, {leg}" if listens else f"{agent} takes the call from queue {queue}, {leg}"
        case agent_facts.AgentOffered(leg=leg, sdp=sdp):
            return f"the agent's browser is offered {leg}, {len(sdp)} bytes"
        case agent_facts.AgentAnswered(leg=leg, sdp=sdp):
            return f"the agent's browser answers for {leg}, {len(sdp)} bytes"
        case agent_facts.AgentConnected(leg=leg, setup_ms=setup_ms):
            return f"{leg} is connected, after {setup_ms} ms"
        case agent_facts.HoldAsked(on=on):
            return "the agent puts the consumer on hold" if on else "the agent takes the consumer off hold"
        case agent_facts.Held():
            return "the consumer hears music"
        case agent_facts.Resumed():
            return "the consumer and the agent hear each other again"
        case agent_facts.TransferAsked(queue=queue, agent=agent):
            return f"the agent transfers the call to {agent or f'queue {queue}'}"
        case agent_facts.PartingAsked(because=because):
            return "the supervisor stops listening" if because == "left" else "the agent hangs up"
        case agent_facts.AgentLeft(leg=leg, because=because, detail=detail):
            why = _BECAUSE.get(because, because)
            return f"{leg} is gone: {why}" + (f" ({detail})" if detail else "")
        case agent_facts.NoteWritten(agent=agent, text=text):
            return f"{agent} notes: {text}"
        case _:
            return ""
