"""Ties a process to the one that started it, so that no death of the parent, not even SIGKILL, leaves a child behind.

Linux does it in the kernel (`PR_SET_PDEATHSIG`), and the tie survives `exec`: that is why the launcher below, which
ties itself and then becomes another program, can tie programs that know nothing of us, without a line of ours between
fork and exec. Elsewhere a small process of its own watches both and delivers the signal.

The kernel's tie is to the *thread* that forked, not to its process. Start tied processes from the main thread.

This file imports nothing of ours: the launcher runs it by path in an isolated interpreter (about 20 ms).
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_EVERY_S = 0.25
NOT_FOUND = 127  # what a shell answers when there is no such program


def die_with_parent(death_signal: signal.Signals = signal.SIGKILL, *, parent_pid: int | None = None) -> None:
    """Have this process receive `death_signal` as soon as its parent dies.

    `parent_pid` is who the parent was when it started us: should it be dead by now, we go at once. Without it
    whoever is the parent now counts.

    Raises:
        OSError: the kernel refused; nothing ties this process to its parent.
    """
    parent = os.getppid() if parent_pid is None else parent_pid
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    else:
        watch_from_aside(os.getpid(), parent, death_signal)
    if os.getppid() != parent:  # it died before the tie was made
        os.kill(os.getpid(), death_signal)


def tied(command: Sequence[str], death_signal: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return the command that runs `command`, of any language, tied to the process that calls this."""
    return [sys.executable, "-I", "-S", __file__, str(int(death_signal)), str(os.getpid()), *command]


def watch_from_aside(child_pid: int, parent_pid: int, death_signal: signal.Signals) -> None:
    """Fork a watcher that signals `child_pid` once `parent_pid` is gone, and ends with either of them."""
    if os.fork() != 0:
        return
    os.closerange(0, min(os.sysconf("SC_OPEN_MAX"), 1 << 16))  # hold no pipe open, no lock and no socket
    while os.getppid() == child_pid:
        if not is_alive(parent_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child_pid, death_signal)
            break
        time.sleep(WATCH_EVERY_S)
    os._exit(0)


def is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists and is somebody else's
        return True
    return True


def launch(arguments: Sequence[str]) -> None:
    """Tie this process, then become the command; `arguments` are those that `tied` wrote."""
    death_signal, parent_pid, *command = arguments
    die_with_parent(signal.Signals(int(death_signal)), parent_pid=int(parent_pid))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would inherit that
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: cannot be started: {error.strerror}\n")
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    launch(sys.argv[1:])
