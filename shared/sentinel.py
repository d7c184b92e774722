"""Asks Redis Sentinel which server is the primary now (redis.io/docs: Sentinel clients)."""

import asyncio
from collections import Counter
from typing import Final

from shared.link import Link, ReplyError, ask, dial
from shared.redis_address import Address, Host, Sentinels

ANSWER_WITHIN_S: Final = 0.5


async def primaries(address: Address) -> list[Host]:
    """Return what the Sentinels hold for the primary, what most of them say first.

    One of them may be behind, or cut off from the others: so all are asked, at once.

    Raises:
        ConnectionError: none of them answered, or knows a primary of that name.
    """
    sentinels = address.sentinels
    if sentinels is None:
        raise ValueError(f"{address} is reached without Sentinel")
    answers = await asyncio.gather(*(_asked(address.of_sentinel(host), sentinels) for host in sentinels.hosts))
    named = Counter(answer for answer in answers if isinstance(answer, Host))
    if not named:
        silent = [answer for answer in answers if isinstance(answer, ConnectionError)]
        raise ConnectionError("; ".join(map(str, silent))) from silent[0].__cause__
    return [host for host, _ in named.most_common()]


async def _asked(sentinel: Address, sentinels: Sentinels) -> Host | ConnectionError:
    """Return the primary that this Sentinel names, or why it names none, with the cause."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            link = await dial(sentinel, Link(str(sentinel)))
            try:
                question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.primary)
                answer = (await ask(link, [*sentinel.credentials, question], ANSWER_WITHIN_S))[-1]
            finally:
                link.abort(ConnectionError("it was asked"))
    except TimeoutError:
        return ConnectionError(f"Sentinel at {sentinel} does not answer")
    except (OSError, ReplyError) as error:
        silent = ConnectionError(f"Sentinel at {sentinel} cannot be asked: {error}")
        silent.__cause__ = error
        return silent
    if answer is None:
        return ConnectionError(f"Sentinel at {sentinel} knows no primary named {sentinels.primary}")
    host, port = answer
    return Host(host.decode(), int(port))
