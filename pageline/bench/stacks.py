"""The stacks under measurement, started for real: our processes over an embedded Valkey, and the baselines."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pageline.bench.events import PAGE, SECRET
from pageline.bench.processes import Server, running
from shared.embedded import EmbeddedValkey, free_port

UVICORN: Final = (
    *("uvicorn", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
    *("--no-access-log", "--no-server-header", "--no-date-header", "--no-proxy-headers"),
)
"""What our own web process runs on, so that the baselines run on it, too."""


@dataclass(frozen=True)
class Stack:
    """Something that takes webhooks at `url`; `redis_url` is empty where it keeps nothing."""

    name: str
    url: str
    web: Server
    valkey_pid: int = 0
    redis_url: str = ""
    media: Server | None = None
    """The process that carries the sound, where calls are answered."""


@contextmanager
def ours(
    name: str, home: Path, *, graph_port: int = 0, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Stack]:
    """Run our web process over a Valkey with an append-only file; with a Graph's port also those that answer calls."""
    port = free_port()
    folder = home / name
    folder.mkdir()
    with ExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey(folder))
        env = {**settings_of(valkey.url, folder, port=port, graph_port=graph_port), **settings}
        web = stack.enter_context(running(f"{name}-web", ["pageline", "web"], env, folder))
        media = None
        if graph_port:
            media = stack.enter_context(running(f"{name}-media", ["pageline", "media"], env, folder))
            stack.enter_context(running(f"{name}-action", ["pageline", "action"], env, folder))
        at = f"http://127.0.0.1:{port}"
        web.await_answer(f"{at}/readyz", containing='"ready"' if graph_port else "status")
        valkey_pid = int((valkey.home / "valkey.pid").read_text().split()[0])
        yield Stack(name, f"{at}/webhook", web, valkey_pid, valkey.url, media)


def settings_of(redis_url: str, folder: Path, *, port: int, graph_port: int) -> dict[str, str]:
    """Return what our processes are told, so that they meet nobody but each other, the Graph and us."""
    return {
        "REDIS_URL": redis_url,
        "META_APP_SECRET": SECRET,
        "META_VERIFY_TOKEN": "unused",
        "PAGE_TOKENS": f"{PAGE}=x",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GRAPH_URL": f"http://127.0.0.1:{graph_port}",
        "GRAPH_VERSION": "v26.0",
        "CALL_HANDLER": "workers.handlers.echo:answer",
        "MEDIA_ADDRESSES": "127.0.0.1",
        "MEDIA_CAPACITY": "1000",
        "DRAIN_SECONDS": "1",
        "DATA_DIR": str(folder),
        "LOG_FORMAT": "json",
        "WEB_CONCURRENCY": "1",
    }


@contextmanager
def baseline(
    module: str, home: Path, *, graph_port: int = 0, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Stack]:
    """Run a module of `pageline.bench.baselines` on the server that ours runs on."""
    port = free_port()
    env = {**baseline_settings(graph_port), **settings}
    command = [*UVICORN, "--port", str(port), f"pageline.bench.baselines.{module}:app"]
    with running(module, command, env, home) as web:
        at = f"http://127.0.0.1:{port}"
        web.await_answer(f"{at}/webhook")
        yield Stack(module, f"{at}/webhook", web, media=web)


def baseline_settings(graph_port: int) -> dict[str, str]:
    """Return what a baseline is told."""
    return {"META_APP_SECRET": SECRET, "GRAPH_URL": f"http://127.0.0.1:{graph_port}", "GRAPH_VERSION": "v26.0"}
