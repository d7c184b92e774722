"""How often somebody tried in vain to get in.

pl:{0}:<area>:tries:<digest of who>   string  tries within `TRIES_S`
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from shared.bus import PREFIX
from shared.wire import Script, Wire

TRIES_S: Final = 300

_TRY: Final = Script("""
local tries = redis.call('INCR', KEYS[1])
if tries == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return tries
""")


class Tries:
    """The tries at one door. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire, area: str) -> None:
        self._wire = wire
        self._area = area

    async def too_many(self, most: Mapping[str, int]) -> bool:
        """Count a try of each, and tell whether one of them has tried more often than that."""
        tries: list[int] = [await _TRY.run(self._wire, [self._key(each)], (TRIES_S,)) for each in most]
        return any(so_far > allowed for so_far, allowed in zip(tries, most.values(), strict=True))

    async def forget(self, who: Iterable[str]) -> None:
        """Begin to count anew: somebody got in."""
        await self._wire.call("DEL", *map(self._key, who))

    def _key(self, who: str) -> str:
        return f"{PREFIX}{self._area}:tries:{hashlib.sha256(who.encode()).hexdigest()}"
