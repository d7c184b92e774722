"""Counts of several web processes behind one port, added up: with WEB_CONCURRENCY any of them may be asked for all.

prometheus_client keeps such counts in files in a folder that a variable names, and looks at that variable once, when it
is imported; so the folder is made before uvicorn starts the processes.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import REGISTRY
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


@contextlib.contextmanager
def counting_together() -> Iterator[None]:
    """Let the processes that are started meanwhile count together; what one counted stays when it is replaced."""
    with tempfile.TemporaryDirectory(prefix="pageline-web-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def own_registry() -> CollectorRegistry:
    """Return what holds the counts of this process, or of all that count together."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return REGISTRY
    together = CollectorRegistry()
    cast("Any", MultiProcessCollector)(together, path=folder)  # it has no types
    return together
