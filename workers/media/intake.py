"""All UDP sockets of a process, used together: a look takes what has come to any of them, and a batch sends at its end.

A loop that watches a thousand sockets one by one wakes for every packet and asks each socket twice. Here, while packets
come, all are looked at every millisecond, or every five when there are many, so that one look brings many: first all
are received, then all are handled, then all that this made us send is sent. Each of the three is short, and many times
the same: that is worth half of the processor's time, and delays a packet by two or three milliseconds. When nothing
comes, nothing runs.

One socket per leg, not one for all: Meta's relays speak to many calls from one address and port, so that the far
address would not tell whose packet it is.
"""

import asyncio
import select
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from shared.clock import boot_ms

LOOK_EVERY_MS: Final = (1, 5)
"""At multiples of that, as the 20 ms rounds are: a look and a round wake the process once, and the look comes first."""
MANY: Final = 8
"""A look that brought so many datagrams is followed by the longer pause."""
IDLE_LOOKS: Final = 50
"""After so many looks in vain the loop is left to wake us; entering one selector into another is dear."""
MOST_EACH: Final = 4
"""Datagrams a look takes from one socket: some thousand a second, so that a flood stops nobody else's sound."""
STALE_MS: Final = 1_000
"""What a batch has to send is dropped when that took so long: the process stood still, and may have lost its calls."""
LARGEST_BYTES: Final = 2048

Posted = tuple[Callable[[bytes, Any], int], bytes, Any]
"""A datagram, where it goes, and what sends it."""


def batch() -> AbstractContextManager[None]:
    """Send what the running loop's sockets are given meanwhile in one go at the end; nothing may be awaited within."""
    intake = Intake.of_loop.get(asyncio.get_running_loop())
    return nullcontext() if intake is None else intake.batch()


def once_a_batch(question: Callable[[], bool]) -> Callable[[], bool]:
    """Return what asks the question once for all of a batch, which is sent within `STALE_MS` or never."""
    asked_in: object = None
    answer = False

    def ask() -> bool:
        nonlocal asked_in, answer
        under_way = Intake.under_way
        if under_way is None:
            return question()
        if under_way is not asked_in:
            asked_in, answer = under_way, question()
        return answer

    return ask


class Datagrams(asyncio.DatagramTransport):
    """A UDP socket as asyncio's protocols want it, read by the intake of its loop.

    Args:
        bound: a bound, non-blocking UDP socket; closed with this.
        protocol: told of datagrams as by any transport of asyncio.
        tap: asked first whether it takes a datagram.
    """

    def __init__(
        self, bound: socket.socket, protocol: asyncio.DatagramProtocol, tap: Callable[[bytes], bool] | None = None
    ) -> None:
        super().__init__({"socket": bound, "sockname": bound.getsockname()})
        self.tap = tap
        self._socket = bound
        self._send = bound.sendto
        self.protocol = protocol
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._intake = Intake.of(self._loop)
        self._intake.add(bound, self)
        protocol.connection_made(self)

    def receive(self) -> tuple[bytes, Any] | None:
        """Return a datagram and where it came from, if there is one."""
        try:
            return self._socket.recvfrom(LARGEST_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:  # what an ICMP message said of an earlier packet
            self._loop.call_soon(self.protocol.error_received, error)  # when all are received: it may do anything
            return None

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now or never: what the socket's buffer has no room for is lost, as on any other part of the way."""
        try:
            self._send(data, addr)
        except OSError:
            return

    def send_soon(self, data: bytes, addr: tuple[str, int]) -> bool:
        """Send at the end of the batch that is under way, or else now; tell whether the socket is open."""
        if self.closed:
            return False
        posted = self._intake.posted
        if posted is None:
            self.sendto(data, addr)
        else:
            posted.append((self._send, data, addr))
        return True

    def is_closing(self) -> bool:
        """Tell whether `close` or `abort` was called."""
        return self.closed

    def close(self) -> None:
        """Close at once; only what a batch under way has to send is sent before."""
        if not self.closed:
            self._intake.send_posted()
            self._drop()

    def abort(self) -> None:
        """Close at once; nothing leaves any more."""
        if not self.closed:  # what was posted fails with the socket
            self._drop()

    def _drop(self) -> None:
        self.closed = True
        self._intake.remove(self._socket)
        self._socket.close()
        self._loop.call_soon(self.protocol.connection_lost, None)


class _Watch(selectors.DefaultSelector):
    """What `select.epoll` is, where there is none (macOS)."""

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [(key.fd, event) for key, event in self.select(timeout)]


_Selector: Final[Any] = getattr(select, "epoll", _Watch)


class Intake:
    """Reads the sockets of one event loop, and sends what a batch of work has to send."""

    of_loop: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Intake]"] = WeakKeyDictionary()
    under_way: ClassVar[object] = None
    """The batch under way, if there is one: never two, as nothing is awaited within, and one loop has the sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._selector = _Selector()
        self._readers: dict[int, Datagrams] = {}
        self._vain = 0
        self._before: set[Datagrams] = set()
        self._next_look: asyncio.TimerHandle | None = None
        self.posted: list[Posted] | None = None
        """What the batch under way has to send, and how; None where none is."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Intake":
        """Return the loop's intake; it lasts from the first socket to the last."""
        intake = cls.of_loop.get(loop)
        if intake is None:
            intake = cls.of_loop[loop] = cls(loop)
        return intake

    # --- sending ---

    @contextmanager
    def batch(self) -> Iterator[None]:
        """See the function of this name."""
        if self.posted is not None:  # within another, which sends
            yield
            return
        self.posted, Intake.under_way = [], object()
        began_ms = boot_ms()
        try:
            yield
        finally:
            posted, self.posted, Intake.under_way = self.posted, None, None
            if boot_ms() - began_ms <= STALE_MS:
                _send(posted)

    def send_posted(self) -> None:
        """Send what the batch under way, if there is one, was given so far."""
        if self.posted:
            posted, self.posted = self.posted, []
            _send(posted)

    # --- receiving ---

    def add(self, bound: socket.socket, reader: Datagrams) -> None:
        """Read this socket from now on."""
        self._selector.register(bound.fileno(), selectors.EVENT_READ)
        self._readers[bound.fileno()] = reader
        if len(self._readers) == 1:
            self._wait()

    def remove(self, bound: socket.socket) -> None:
        """Read this socket no more."""
        self._selector.unregister(bound.fileno())
        del self._readers[bound.fileno()]
        if not self._readers:
            if self._next_look is None:
                self._loop.remove_reader(self._selector)
            else:
                self._next_look.cancel()
            del self.of_loop[self._loop]
            self._selector.close()

    def _wait(self) -> None:
        """Let the loop wake us with the next packet."""
        self._next_look = None
        self._loop.add_reader(self._selector, self._wake)

    def _wake(self) -> None:
        self._loop.remove_reader(self._selector)
        self._vain = 0
        self._look()

    def _look(self) -> None:
        """Receive what is here and handle it."""
        ready = [self._readers[fd] for fd, _ in self._selector.poll(0)]
        self._vain = 0 if ready else self._vain + 1
        if self._vain > IDLE_LOOKS:
            self._wait()
            return
        self._next_look = self._loop.call_at(self._next_s(LOOK_EVERY_MS[len(ready) >= MANY]), self._look)
        self._take(ready)
        fast = [one for one in ready if one in self._before]  # twice in a row: more than one packet may wait there
        self._before = set(ready)
        for _ in range(MOST_EACH - 1):
            fast = [one for one in fast if not one.closed]
            if not fast:
                break
            self._take(fast)

    def _next_s(self, every_ms: int) -> float:
        """Return when the loop's clock next shows a multiple of so many milliseconds."""
        return (round(self._loop.time() * 1000) // every_ms + 1) * every_ms / 1000

    def _take(self, ready: list[Datagrams]) -> None:
        """Receive one datagram from each of these sockets, then handle them."""
        arrived = [(reader, reader.receive()) for reader in ready]
        with self.batch():
            for reader, datagram in arrived:
                if datagram is None or reader.closed:  # by one that was handled before it
                    continue
                data, address = datagram
                try:
                    if reader.tap is None or not reader.tap(data):
                        reader.protocol.datagram_received(data, address)
                except Exception as error:  # noqa: BLE001  # one leg's trouble; the others are heard all the same
                    self._loop.call_exception_handler(
                        {"message": "a datagram could not be handled", "exception": error, "transport": reader}
                    )


def _send(posted: list[Posted]) -> None:
    for send, data, addr in posted:
        try:
            send(data, addr)
        except OSError:
            continue
