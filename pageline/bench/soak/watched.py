"""Runs one of our processes and writes down what only the process itself can count: its tasks and objects.

`python -m pageline.bench.soak.watched FILE PROCESS`. Every few seconds FILE holds the latest counts, as JSON. They are
taken after a full collection, and the collection is what makes memory comparable: what a call leaves in reference
cycles (sockets' and codecs' memory with it) otherwise goes in a sawtooth whose teeth are minutes long.
"""

import asyncio
import gc
import json
import sys
import threading
import time
from pathlib import Path
from typing import Final

from pageline import cli

EVERY_S: Final = 5.0


def watch(file: Path) -> None:
    """Write the counts down, over and over."""
    fresh = file.with_suffix(".new")
    while True:
        time.sleep(EVERY_S)
        gc.collect()
        tracked = gc.get_objects()
        tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in tracked)
        fresh.write_text(json.dumps({"tasks": tasks, "objects": len(tracked) // 1000}))
        del tracked
        fresh.rename(file)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(Path(sys.argv.pop(1)),), name="watch", daemon=True).start()
    cli.main()
