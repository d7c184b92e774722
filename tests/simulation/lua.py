"""Runs the product's own Lua steps in this process, with what Redis gives to a script."""

import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from shared.wire import Reply, ReplyError

_lupa: Final[Any] = importlib.import_module("lupa.lua51")
"""Lua 5.1, which Redis and Valkey embed; untyped, and met here only."""


class Interpreter:
    """A Lua whose `redis.call` leads to `call`; `edit` may change a script, as a planted bug does."""

    def __init__(self, call: Callable[..., Reply], edit: Callable[[bytes], bytes]) -> None:
        self._edit = edit
        self._lua = _lupa.LuaRuntime(encoding=None, register_eval=False)
        self._scripts: dict[bytes, Any] = {}
        names = self._lua.globals()
        names[b"redis"] = self._lua.table_from({b"call": lambda *args: self._to_lua(call(*args))})
        names[b"cjson"] = self._lua.table_from({b"encode": _to_json})

    def load(self, source: bytes) -> bytes:
        """Keep a script and return its hash."""
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        self._scripts[sha] = self._lua.eval(b"function(KEYS, ARGV)\n" + self._edit(source) + b"\nend")
        return sha

    def run(self, sha: bytes, keys: Sequence[bytes], args: Sequence[bytes]) -> Reply:
        """Run a script that was loaded.

        Raises:
            ReplyError: it was not.
        """
        script = self._scripts.get(sha)
        if script is None:
            raise ReplyError("NOSCRIPT No matching script. Please use EVAL.")
        return _from_lua(script(self._lua.table_from(keys), self._lua.table_from(args)))

    def _to_lua(self, reply: Reply) -> Any:
        if reply is None:
            return False
        if isinstance(reply, list):
            return self._lua.table_from([self._to_lua(part) for part in reply])
        return reply


def _from_lua(value: Any) -> Reply:
    """Convert as Redis does: numbers lose their fraction, false is nil, a table ends at its first nil."""
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, int | float):
        return int(value)
    if isinstance(value, bytes):
        return value
    return [_from_lua(value[index]) for index in range(1, len(value) + 1)]


def _to_json(table: Any) -> bytes:
    return json.dumps(_plain(table), separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, int | float):
        return value
    return {key.decode(): _plain(part) for key, part in sorted(value.items())}
