"""Who runs where: the process under measurement has a core of its own, everything else shares another."""

import os
from pathlib import Path
from typing import Final

MEASURED_ON: Final = 0
REST_ON: Final = 1


def separate() -> bool:
    """Move us, and whom we start from now on, to the other core; tell whether there is one."""
    cores = os.sched_getaffinity(0)
    if not {MEASURED_ON, REST_ON} <= cores:
        return False
    os.sched_setaffinity(0, {REST_ON})
    return True


def put_aside(pid: int) -> None:
    """Give the process under measurement its core, each of its threads."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {MEASURED_ON})
