"""Signs recorded webhook bodies and posts them, so that what once happened happens again.

A replay file (`.jsonl`) holds one line per POST, `{"at_ms": ..., "body": {...}}`; a `.json` file is one body as Meta
sends it. Unless told otherwise times are shifted to now and calls get new ids: a replay is live, and no duplicate.
"""

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.errors import PagelineError
from shared.meta.signature import sign

T = TypeVar("T")

AT_ONCE: Final = 32
_TIMES: Final = frozenset({"time", "timestamp", "start_time", "end_time"})
_MILLISECONDS_FROM: Final = 100_000_000_000


class BadRecording(PagelineError):
    """A file to replay cannot be read; the message names file and line."""


class Post(msgspec.Struct):
    """One recorded POST."""

    body: dict[str, Any]
    at_ms: float | None = None


def run(files: list[Path], *, to: str, speed: float, as_recorded: bool, secret: bytes) -> dict[str, Any]:
    """Post everything in the files, in order; return how many, and how they were answered.

    `speed` 1 keeps the recorded pace, 10 is ten times faster, 0 posts all at once.

    Raises:
        BadRecording: a file cannot be read.
    """
    posts = [post for path in files for post in read(path)]
    if not as_recorded:
        _rejuvenate(posts)
    started = time.monotonic()
    statuses = asyncio.run(_post_all(posts, to, speed, secret))
    report = {
        "posted": len(posts),
        "accepted": statuses["200"],
        "refused": len(posts) - statuses["200"],
        "by_status": dict(statuses),
        "took_s": round(time.monotonic() - started, 3),
    }
    Console(stderr=True).print(
        f"{report['posted']} posted to {to}, {report['accepted']} answered 200"
        + "".join(f", {count} answered {status}" for status, count in statuses.items() if status != "200")
    )
    return report


def read(path: Path) -> list[Post]:
    """Return the POSTs recorded in a file.

    Raises:
        BadRecording: the file or a line of it cannot be read.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BadRecording(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix != ".jsonl":
        return [Post(_parsed(text, str(path), dict[str, Any]))]
    lines = enumerate(text.splitlines(), 1)
    return [_parsed(line, f"{path}, line {number}", Post) for number, line in lines if line.strip()]


def _parsed(text: str, where: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise BadRecording(f"{where}: {error}.") from error


def _rejuvenate(posts: list[Post]) -> None:
    """Shift every time so that the first call event is now, and rename every call."""
    elements = [element for post in posts for element in _elements(post.body)]
    stamps = [element["timestamp"] for element in elements if isinstance(element.get("timestamp"), int | float)]
    if not stamps:
        return
    first_s = min(stamp / 1000 if stamp > _MILLISECONDS_FROM else stamp for stamp in stamps)
    shift_s = int(time.time() - first_s)
    names: dict[str, str] = {}
    for post in posts:
        for element in _elements(post.body):
            old = element.get("id")
            if isinstance(old, str):
                element["id"] = names.setdefault(old, f"c_{secrets.token_urlsafe(28)}")
            _shift(element, shift_s)
        for entry in post.body.get("entry") or []:
            _shift(entry, shift_s)


def _elements(body: dict[str, Any]) -> list[dict[str, Any]]:
    entries = body.get("entry") or []
    return [element for entry in entries for element in entry.get("calls") or [] if isinstance(element, dict)]


def _shift(element: dict[str, Any], shift_s: int) -> None:
    for name in _TIMES & element.keys():
        if isinstance(element[name], int | float):
            element[name] += shift_s * (1000 if element[name] > _MILLISECONDS_FROM else 1)


async def _post_all(posts: list[Post], to: str, speed: float, secret: bytes) -> Counter[str]:
    statuses: Counter[str] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    recorded = [post.at_ms for post in posts if post.at_ms is not None]
    origin_ms, began = min(recorded, default=0.0), time.monotonic()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("replaying", total=len(posts))

        async def send(post: Post) -> None:
            async with gate:
                statuses[await _post(client, to, post, secret)] += 1
                progress.advance(bar)

        async with httpx.AsyncClient(timeout=10, trust_env=False) as client, asyncio.TaskGroup() as sending:
            for post in posts:
                if speed and post.at_ms is not None:
                    await asyncio.sleep(began + (post.at_ms - origin_ms) / 1000 / speed - time.monotonic())
                    sending.create_task(send(post))
                elif speed:
                    await send(post)
                else:
                    sending.create_task(send(post))
    return statuses


async def _post(client: httpx.AsyncClient, to: str, post: Post, secret: bytes) -> str:
    body = json.dumps(post.body, separators=(",", ":")).encode()  # ASCII escapes, as Meta signs them
    headers = {"content-type": "application/json", "x-hub-signature-256": sign(secret, body).decode()}
    try:
        return str((await client.post(to, content=body, headers=headers)).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__
