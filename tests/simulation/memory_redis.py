"""A Redis in memory: the commands that `shared.bus` and `shared/lua` use, on any clock, and nothing else.

It runs the product's own Lua (`lua.py`), so that what the simulation proves it proves of the steps that go to
production. Replies have the shapes in which hiredis hands them over; whatever is unordered in Redis (sets, SRANDMEMBER)
keeps the order of insertion here, so that a run can be repeated to the byte.
"""

from collections.abc import Callable
from typing import TypeAlias

from shared.wire import Argument, Reply, ReplyError
from tests.simulation.lua import Interpreter
from tests.simulation.memory_keys import Keys
from tests.simulation.memory_values import (
    OLDEST,
    EntryId,
    Fields,
    Members,
    Scores,
    Stream,
    as_bytes,
    between,
    bound,
    id_of,
    name_of,
    number_text,
    told,
    within,
)

Answer: TypeAlias = Callable[[Reply], None]
GiveUp: TypeAlias = Callable[[], None]


class MemoryRedis(Keys):
    """One server; every command is one step, because nothing else runs meanwhile."""

    def __init__(self, now_us: Callable[[], int], *, edit: Callable[[bytes], bytes] = bytes) -> None:
        self.on_append: Callable[[bytes, EntryId, Fields], None] = lambda *_: None
        """Told of every entry of every stream."""
        super().__init__(now_us)
        self._waiting: dict[bytes, list[Callable[[], None]]] = {}
        self._lua = Interpreter(self.run, edit)
        self._commands: dict[Argument, Callable[..., Reply]] = {
            name[3:].encode(): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    def learn(self, name: str, command: Callable[..., Reply]) -> None:
        """Teach the server a command that Redis does not have."""
        self._commands[name.lower().encode()] = command

    def run(self, *args: Argument) -> Reply:
        """Carry out one command and return its reply; raises `ReplyError` where Redis would answer with an error."""
        command = self._commands.get(args[0]) or self._command(args[0])
        given = [arg if arg.__class__ is bytes else as_bytes(arg) for arg in args[1:]]
        return command(*given)

    def _command(self, name: Argument) -> Callable[..., Reply]:
        """Find a command by its name in any spelling, and remember the spelling."""
        command = self._commands.get(as_bytes(name).lower())
        if command is None:
            raise ReplyError(f"ERR unknown command {name!r} (tests/simulation/memory_redis.py)")
        self._commands[name] = command
        return command

    def run_when_rung(self, bell: bytes, args: tuple[Argument, ...], answer: Answer) -> GiveUp:
        """Carry out a command that waits while it has nothing to say: answer now, or when the bell brings something.

        The returned function ends the waiting.
        """
        reply = self.run(*args)
        if reply is not None:
            answer(reply)
            return lambda: None
        waiting = self._waiting.setdefault(bell, [])

        def look_again() -> None:
            found = self.run(*args)
            if found is not None:
                waiting.remove(look_again)
                answer(found)

        def give_up() -> None:
            if look_again in waiting:
                waiting.remove(look_again)
                answer(None)

        waiting.append(look_again)
        return give_up

    def ring(self, bell: bytes) -> None:
        """Let those who wait look again."""
        for look_again in tuple(self._waiting.get(bell, ())):
            look_again()

    # -- hashes ------------------------------------------------------------------------------------------------------

    def do_hget(self, key: bytes, field: bytes) -> Reply:
        return self._get(key, dict).get(field)

    def do_hmget(self, key: bytes, *fields: bytes) -> Reply:
        value = self._get(key, dict)
        return [value.get(field) for field in fields]

    def do_hgetall(self, key: bytes) -> Reply:
        return [part for pair in self._get(key, dict).items() for part in pair]

    def do_hset(self, key: bytes, *pairs: bytes) -> Reply:
        value = self._keep(key, dict)
        new = sum(field not in value for field in pairs[::2])
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        return new

    def do_hsetnx(self, key: bytes, field: bytes, to: bytes) -> Reply:
        value = self._keep(key, dict)
        if field in value:
            return 0
        value[field] = to
        return 1

    def do_hincrby(self, key: bytes, field: bytes, by: bytes) -> Reply:
        value = self._keep(key, dict)
        count = int(value.get(field, 0)) + int(by)
        value[field] = b"%d" % count
        return count

    def do_hdel(self, key: bytes, *fields: bytes) -> Reply:
        value = self._get(key, dict)
        gone = sum(value.pop(field, None) is not None for field in fields)
        self._tidy(key)
        return gone

    def do_hexists(self, key: bytes, field: bytes) -> Reply:
        return int(field in self._get(key, dict))

    # -- sets --------------------------------------------------------------------------------------------------------

    def do_sadd(self, key: bytes, *members: bytes) -> Reply:
        value = self._keep(key, Members)
        new = sum(member not in value for member in members)
        value.update(dict.fromkeys(members))
        return new

    def do_srem(self, key: bytes, *members: bytes) -> Reply:
        value = self._get(key, Members)
        gone = 0
        for member in members:
            if member in value:
                del value[member]
                gone += 1
        self._tidy(key)
        return gone

    def do_scard(self, key: bytes) -> Reply:
        return len(self._get(key, Members))

    def do_smembers(self, key: bytes) -> Reply:
        return list(self._get(key, Members))

    def do_srandmember(self, key: bytes, most: bytes) -> Reply:
        return list(self._get(key, Members))[: int(most)]

    # -- sorted sets -------------------------------------------------------------------------------------------------

    def do_zadd(self, key: bytes, *rest: bytes) -> Reply:
        words = {word.upper() for word in rest[:-2]}
        only_new = b"NX" in words
        score, member = rest[-2:]
        if b"XX" in words and member not in self._get(key, Scores):
            return None if b"INCR" in words else 0
        if b"INCR" in words:
            return self.do_zincrby(key, score, member)
        value = self._keep(key, Scores)
        new = member not in value
        if new or not only_new:
            value[member] = float(score)
        return int(new)

    def do_zincrby(self, key: bytes, by: bytes, member: bytes) -> Reply:
        value = self._keep(key, Scores)
        value[member] = value.get(member, 0.0) + float(by)
        return number_text(value[member])

    def do_zrem(self, key: bytes, *members: bytes) -> Reply:
        value = self._get(key, Scores)
        gone = sum(value.pop(member, None) is not None for member in members)
        self._tidy(key)
        return gone

    def do_zscore(self, key: bytes, member: bytes) -> Reply:
        score = self._get(key, Scores).get(member)
        return None if score is None else number_text(score)

    def do_zcard(self, key: bytes) -> Reply:
        return len(self._get(key, Scores))

    def do_zrange(self, key: bytes, first: bytes, last: bytes) -> Reply:
        return between(self._get(key, Scores).ranked(), int(first), int(last))

    def do_zrevrange(self, key: bytes, first: bytes, last: bytes, *with_scores: bytes) -> Reply:
        scores = self._get(key, Scores)
        found = between(scores.ranked()[::-1], int(first), int(last))
        if not with_scores:
            return found
        return [part for member in found for part in (member, number_text(scores[member]))]

    def do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> Reply:
        scores = self._get(key, Scores)
        found = [member for member in scores.ranked() if within(scores[member], low, high)]
        return found[int(limit[1]) : int(limit[1]) + int(limit[2])] if limit else found

    def do_zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> Reply:
        return self.do_zrem(key, *self.do_zrangebyscore(key, low, high))

    # -- streams -----------------------------------------------------------------------------------------------------

    def do_xadd(self, key: bytes, *rest: bytes) -> Reply:
        most, oldest = None, OLDEST
        if rest[0].upper() == b"MAXLEN":
            most, rest = int(rest[2]), rest[3:]
        elif rest[0].upper() == b"MINID":
            oldest, rest = id_of(rest[2]), rest[3:]
        stream = self._keep(key, Stream)
        if rest[0] == b"*":
            entry_id = max((self._now_ms(), 0), (stream.last[0], stream.last[1] + 1))
        else:
            entry_id = id_of(rest[0])
            if entry_id <= stream.last:
                raise ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
        stream.last = entry_id
        stream.entries.append((entry_id, list(rest[1:])))
        self.on_append(key, entry_id, stream.entries[-1][1])
        if most is not None:
            del stream.entries[:-most]
        while stream.entries[0][0] < oldest:
            del stream.entries[0]
        self.ring(key)
        return name_of(entry_id)

    def do_xlen(self, key: bytes) -> Reply:
        return len(self._get(key, Stream).entries)

    def do_xrange(self, key: bytes, first: bytes, last: bytes, *count: bytes) -> Reply:
        low, high = bound(first, OLDEST), bound(last, (2**63, 0))
        found = [told(entry) for entry in self._get(key, Stream).entries if low <= entry[0] <= high]
        return found[: int(count[1])] if count else found

    def do_xtrim(self, key: bytes, how: bytes, limit: bytes) -> Reply:
        stream = self._get(key, Stream)
        if how.upper() == b"MINID":
            kept = [entry for entry in stream.entries if entry[0] >= id_of(limit)]
        else:
            kept = stream.entries[-int(limit) :]
        gone = len(stream.entries) - len(kept)
        stream.entries = kept
        return gone

    def do_xdel(self, key: bytes, *entry_ids: bytes) -> Reply:
        stream = self._get(key, Stream)
        gone = {id_of(entry_id) for entry_id in entry_ids}
        kept = [entry for entry in stream.entries if entry[0] not in gone]
        count = len(stream.entries) - len(kept)
        stream.entries = kept
        return count

    def do_xread(self, *args: bytes) -> Reply:
        """Read one stream; waiting is `run_when_rung`'s."""
        count = int(args[args.index(b"COUNT") + 1])
        key, after = args[-2:]
        found = self._get(key, Stream).after(id_of(after), count)
        return [[key, [told(entry) for entry in found]]] if found else None

    # -- scripts -----------------------------------------------------------------------------------------------------

    def do_script(self, what: bytes, source: bytes) -> Reply:
        assert what.upper() == b"LOAD"
        return self._lua.load(source)

    def do_evalsha(self, sha: bytes, keys: bytes, *rest: bytes) -> Reply:
        return self._lua.run(sha, rest[: int(keys)], rest[int(keys) :])
