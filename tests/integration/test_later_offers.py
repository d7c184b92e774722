"""What a peer may do to its sections while the call runs: the media goes on through all of it."""

import re
from collections.abc import Callable

import pytest

from tests.integration.test_leg import THEIRS_HZ, Far, call, converse, dominant_hz


def in_another_order(offer: str) -> str:
    return offer.replace("a=mid:0", "a=mid:x").replace("a=mid:1", "a=mid:0").replace("a=mid:x", "a=mid:1")


def under_other_names(offer: str) -> str:
    return offer.replace("a=mid:0", "a=mid:5").replace("a=mid:1", "a=mid:6").replace("BUNDLE 0 1", "BUNDLE 5 6")


def without_the_first(offer: str) -> str:
    session, _, second = offer.split("m=audio")
    return session.replace("BUNDLE 0 1", "BUNDLE 1") + "m=audio" + second


def first_rejected(offer: str) -> str:
    return re.sub(r"m=audio \d+", "m=audio 0", offer.replace("BUNDLE 0 1", "BUNDLE 1"), count=1)


def second_rejected(offer: str) -> str:
    session, first, second = offer.split("m=audio")
    return f"{session.replace('BUNDLE 0 1', 'BUNDLE 0')}m=audio{first}m=audio{re.sub(r'^ [0-9]+', ' 0', second)}"


CHANGES: tuple[Callable[[str], str], ...] = (
    in_another_order,
    under_other_names,
    without_the_first,
    first_rejected,
    second_rejected,
)


@pytest.mark.meta("6.1-mids")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_sections_may_move_and_go_and_come_back(change: Callable[[str], str]) -> None:
    async with call(Far(hz=THEIRS_HZ)) as (leg, far):
        for offer in (change(far.renegotiation(far.answer_again())), far.renegotiation(far.answer_again())):
            await leg.renegotiate(offer)
            heard = await converse(leg, 32)
            assert abs(dominant_hz(heard[-48_000:]) - THEIRS_HZ) <= 10
            assert leg.live
            assert leg._peer.connectionState == "connected"
