"""Many datagrams per system call (sendmmsg, recvmmsg; Linux), with the kernel's own time of each arrival.

The load shares the machine with what it loads, so a packet may cost it microseconds only. Received packets are looked
at as columns of numbers, never one by one, unless they are no media.
"""

import ctypes
import errno
import os
import socket
from typing import Any, Final

import numpy as np

STRIDE_BYTES: Final = 1536
NAME_BYTES: Final = 16  # struct sockaddr_in
CONTROL_BYTES: Final = 64
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h
SO_RCVBUFFORCE: Final = 33
STAMP_AT: Final = 16  # in the control buffer, behind struct cmsghdr
RECEIVE_BUFFER_BYTES: Final = 8 << 20


class _Part(ctypes.Structure):  # struct iovec
    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_size_t),  # an int, and the end of the struct msghdr within
        ("bytes", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)


class _Batch:
    """So many messages, each with a buffer of its own for data, address and control."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = np.zeros((capacity, STRIDE_BYTES), np.uint8)
        self.names = np.zeros((capacity, NAME_BYTES), np.uint8)
        self.controls = np.zeros((capacity, CONTROL_BYTES), np.uint8)
        self._parts = (_Part * capacity)()
        self.messages = (_Message * capacity)()
        for number in range(capacity):
            self._parts[number] = _Part(self.data.ctypes.data + number * STRIDE_BYTES, STRIDE_BYTES)
            self.messages[number] = _Message(
                self.names.ctypes.data + number * NAME_BYTES,
                NAME_BYTES,
                ctypes.addressof(self._parts) + number * ctypes.sizeof(_Part),
                1,
                0,
                0,
            )
        self.part_bytes = _column(self._parts, _Part, "bytes", np.uint64)
        self.name_bytes = _column(self.messages, _Message, "name_bytes", np.uint32)
        self.control_bytes = _column(self.messages, _Message, "control_bytes", np.uint64)
        self.bytes = _column(self.messages, _Message, "bytes", np.uint32)


def _column(array: Any, kind: type[ctypes.Structure], field: str, of: Any) -> "np.ndarray[Any, Any]":
    """Return one field of all structures as a vector that shares their memory."""
    size, offset = ctypes.sizeof(kind), getattr(kind, field).offset
    return np.ndarray((len(array),), of, buffer=array, offset=offset, strides=(size,))


def listen(address: str) -> socket.socket:
    """Return a UDP socket with a deep receive buffer whose datagrams are stamped when they arrive."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((address, 0))
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return bound


class Outgoing:
    """Datagrams that leave together."""

    def __init__(self, bound: socket.socket, capacity: int = 256) -> None:
        self._fd = bound.fileno()
        self._batch = _Batch(capacity)
        self._data = self._batch.data.data.cast("B")
        self._names = self._batch.names.data.cast("B")
        self._bytes = self._batch.part_bytes
        self._count = 0

    def put(self, datagram: bytes, name: bytes) -> None:
        """Add a datagram to this address, a `struct sockaddr_in`."""
        if self._count == self._batch.capacity:
            self.send()
        count = self._count
        at = count * STRIDE_BYTES
        self._data[at : at + len(datagram)] = datagram
        self._names[count * NAME_BYTES : (count + 1) * NAME_BYTES] = name
        self._bytes[count] = len(datagram)
        self._count = count + 1

    def send(self) -> None:
        """Let go what was put; a datagram that nobody takes is dropped, as a network does."""
        sent = 0
        while sent < self._count:
            at = ctypes.byref(self._batch.messages, sent * ctypes.sizeof(_Message))
            left = _libc.sendmmsg(self._fd, at, self._count - sent, socket.MSG_DONTWAIT)
            sent += max(left, 1)  # an error concerns the first one: its peer is gone, or the queue is full
        self._count = 0


class Incoming:
    """Datagrams as they came, a batch at a time, as columns."""

    def __init__(self, bound: socket.socket, capacity: int = 512) -> None:
        self._fd = bound.fileno()
        self.capacity = capacity
        self._batch = batch = _Batch(capacity)
        for number in range(capacity):
            batch.messages[number].control = batch.controls.ctypes.data + number * CONTROL_BYTES
        self.data = batch.data
        self.bytes = batch.bytes
        self.names = batch.names
        self.ports = batch.names[:, 2:4].view(">u2")[:, 0]
        self.stamps_ns = batch.controls[:, STAMP_AT : STAMP_AT + 16].view(np.int64)

    def receive(self) -> int:
        """Read what is there, as far as there is room, into the columns; return how many datagrams."""
        batch = self._batch
        batch.name_bytes[:] = NAME_BYTES
        batch.control_bytes[:] = CONTROL_BYTES
        got: int = _libc.recvmmsg(self._fd, batch.messages, batch.capacity, socket.MSG_DONTWAIT, None)
        if got < 0:
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.ECONNREFUSED, errno.EINTR):
                raise OSError(code, os.strerror(code))
            return 0
        return got
