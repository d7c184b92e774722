"""All UDP sockets of a process, read together: one look tells which have something, and each gives one packet.

A loop that watches a thousand sockets one by one wakes for every packet and asks each socket twice. Here, while packets
come, all are looked at every two milliseconds, so that under load one look brings many. That delays a packet by a
millisecond on average, and the fuller the worker, the more it saves. When nothing comes, nothing runs.

One socket per leg, not one for all: Meta's relays speak to many calls from one address and port, so that the far
address would not tell whose packet it is.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from workers.media.srtp import packet

LOOK_EVERY_S: Final = 0.002
IDLE_LOOKS: Final = 50
"""After so many looks in vain the loop is left to wake us; entering one selector into another is dear."""


class Datagrams(asyncio.DatagramTransport):
    """A UDP socket as asyncio's protocols want it, read by the intake of its loop.

    Args:
        bound: a bound, non-blocking UDP socket; closed with this.
        protocol: told of datagrams as by any transport of asyncio.
        tap: asked first, the datagram being in `srtp.packet`; True if it took it.
    """

    def __init__(
        self, bound: socket.socket, protocol: asyncio.DatagramProtocol, tap: Callable[[int], bool] | None = None
    ) -> None:
        super().__init__({"socket": bound, "sockname": bound.getsockname()})
        self._socket = bound
        self._protocol = protocol
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._intake = Intake.of(self._loop)
        self._intake.add(bound, self)
        protocol.connection_made(self)

    def read(self) -> None:
        """Take one datagram, if there is one."""
        try:
            length, address = self._socket.recvfrom_into(packet)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # what an ICMP message said of an earlier packet
            self._protocol.error_received(error)
            return
        if self._tap is None or not self._tap(length):
            self._protocol.datagram_received(bytes(packet[:length]), address)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now or never: what the socket's buffer has no room for is lost, as on any other part of the way."""
        self.send_now(data, addr)

    def send_now(self, data: bytes | memoryview, addr: tuple[str, int]) -> bool:
        """Send, and tell whether it left."""
        try:
            self._socket.sendto(data, addr)
        except OSError:
            return False
        return True

    def is_closing(self) -> bool:
        """Tell whether `close` or `abort` was called."""
        return self._closing

    def close(self) -> None:
        """Close at once: nothing waits to be sent."""
        if not self._closing:
            self._closing = True
            self._intake.remove(self._socket)
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class Intake:
    """Reads the sockets of one event loop."""

    _of_loop: Final["WeakKeyDictionary[asyncio.AbstractEventLoop, Intake]"] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()
        self._watched = 0
        self._vain = 0
        self._next_look: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Intake":
        """Return the loop's intake; it lasts from the first socket to the last."""
        intake = cls._of_loop.get(loop)
        if intake is None:
            intake = cls._of_loop[loop] = cls(loop)
        return intake

    def add(self, bound: socket.socket, reader: Datagrams) -> None:
        """Read this socket from now on."""
        self._selector.register(bound, selectors.EVENT_READ, reader)
        self._watched += 1
        if self._watched == 1:
            self._wait()

    def remove(self, bound: socket.socket) -> None:
        """Read this socket no more."""
        self._selector.unregister(bound)
        self._watched -= 1
        if self._watched == 0:
            self._stop()
            del self._of_loop[self._loop]
            self._selector.close()

    def _wait(self) -> None:
        """Let the loop wake us with the next packet."""
        self._next_look = None
        self._loop.add_reader(self._selector, self._wake)

    def _wake(self) -> None:
        self._loop.remove_reader(self._selector)
        self._vain = 0
        self._look()

    def _stop(self) -> None:
        if self._next_look is None:
            self._loop.remove_reader(self._selector)
        else:
            self._next_look.cancel()

    def _look(self) -> None:
        ready = self._selector.select(0)
        self._vain = 0 if ready else self._vain + 1
        if self._vain > IDLE_LOOKS:
            self._wait()
            return
        self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look)
        for key, _ in ready:
            reader: Datagrams = key.data
            if reader.is_closing():  # by one that was read before it
                continue
            try:
                reader.read()
            except Exception as error:  # noqa: BLE001  # one leg's trouble; the others are read all the same
                self._loop.call_exception_handler(
                    {"message": "a datagram could not be handled", "exception": error, "transport": reader}
                )
