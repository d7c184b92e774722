"""What a `MemoryRedis` knows of keys, whatever they hold: their values, and when each ends."""

import fnmatch
from collections.abc import Callable
from typing import Any

from shared.wire import Reply, ReplyError


class Keys:
    """Keys with values of any kind, some of a limited life."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._values: dict[bytes, Any] = {}
        self._ends_ms: dict[bytes, float] = {}

    # -- what values are kept in -------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._now_us() // 1000

    def _get(self, key: bytes, kind: type[Any]) -> Any:
        """Return the key's value, or an empty one that is not kept."""
        self._expire(key)
        value = self._values.get(key)
        if value is None:
            return kind()
        if not isinstance(value, kind):
            raise ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def _keep(self, key: bytes, kind: type[Any]) -> Any:
        """Return the key's value, made where there is none."""
        value = self._get(key, kind)
        self._values.setdefault(key, value)
        return value

    def _tidy(self, key: bytes) -> None:
        if not self._values.get(key, True):
            self._drop(key)

    def _drop(self, key: bytes) -> bool:
        self._ends_ms.pop(key, None)
        return self._values.pop(key, None) is not None

    def _expire(self, key: bytes) -> None:
        if self._ends_ms and self._ends_ms.get(key, float("inf")) <= self._now_ms():
            self._drop(key)

    # -- keys --------------------------------------------------------------------------------------------------------

    def do_time(self) -> Reply:
        seconds, micros = divmod(self._now_us(), 1_000_000)
        return [b"%d" % seconds, b"%d" % micros]

    def do_get(self, key: bytes) -> Reply:
        return self._get(key, bytes) or None

    def do_set(self, key: bytes, value: bytes, *options: bytes) -> Reply:
        if b"NX" in options and self.do_exists(key):
            return None
        self._drop(key)
        self._values[key] = value
        for option, unit_ms in ((b"EX", 1000), (b"PX", 1)):
            if option in options:
                self._ends_ms[key] = self._now_ms() + int(options[options.index(option) + 1]) * unit_ms
        return b"OK"

    def do_del(self, *keys: bytes) -> Reply:
        return sum(self._drop(key) for key in keys)

    def do_exists(self, *keys: bytes) -> Reply:
        for key in keys:
            self._expire(key)
        return sum(key in self._values for key in keys)

    def do_expire(self, key: bytes, seconds: bytes) -> Reply:
        return self.do_pexpire(key, b"%d" % (int(seconds) * 1000))

    def do_pexpire(self, key: bytes, ms: bytes) -> Reply:
        if not self.do_exists(key):
            return 0
        self._ends_ms[key] = self._now_ms() + int(ms)
        return 1

    def do_persist(self, key: bytes) -> Reply:
        return int(self._ends_ms.pop(key, None) is not None)

    def do_pttl(self, key: bytes) -> Reply:
        if not self.do_exists(key):
            return -2
        ends_ms = self._ends_ms.get(key)
        return -1 if ends_ms is None else int(ends_ms - self._now_ms())

    def do_keys(self, pattern: bytes) -> Reply:
        return [key for key in list(self._values) if self.do_exists(key) and fnmatch.fnmatchcase(key, pattern)]

    def do_flushall(self) -> Reply:
        self._values.clear()
        self._ends_ms.clear()
        return b"OK"
