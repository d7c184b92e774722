"""All processes on one machine: what `pageline up` and `pageline demo` start."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pageline import up
from shared import api_keys, log
from shared.api_keys import Scope
from shared.embedded import EmbeddedValkey
from shared.settings import Settings

STOP_SLACK_S = 8.0
"""Beyond DRAIN_SECONDS: the last words, closing, and the farewells that the action worker has left to send."""
FIRST_MEDIA = 1


def run_everything(configured: Settings) -> int:
    """Run the Procfile's processes until told to stop; return the exit status.

    Raises:
        BadSetting: something that one of them requires is missing; nothing was started.
    """
    _ = (
        configured.api_keys,
        configured.app_secrets,
        configured.verify_token,
        configured.page_token_by_page,
        configured.record_addresses,
        configured.known_ice_servers,
    )
    with valkey_unless_given(configured) as (redis_url, valkey):
        log_format = configured.log_format or ("console" if sys.stderr.isatty() else "json")
        return up.run(
            processes(configured),
            {"REDIS_URL": redis_url, "LOG_FORMAT": log_format, "PAGELINE_API_KEYS": _api_keys(configured)},
            stop_grace_s=configured.drain_seconds + STOP_SLACK_S,
            revive=None if valkey is None else valkey.revive,
        )


def _api_keys(configured: Settings) -> str:
    """Return the keys of `/v1` and the console; where none are set, one made for this run, and shown."""
    if configured.api_keys:
        return configured.pageline_api_keys
    key = api_keys.new()
    for said in (
        f"PAGELINE_API_KEYS is not set; /v1 and the console take this key in this run: {key}",
        f"the console: http://{_reachable(configured.http_host)}:{configured.http_port}/console",
    ):
        print(f"pageline: {said}", file=sys.stderr)  # noqa: T201
    return api_keys.entry_of(key, Scope.ADMIN)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 to be called, not listened on


@contextlib.contextmanager
def valkey_unless_given(configured: Settings) -> Iterator[tuple[str, EmbeddedValkey | None]]:
    """Yield REDIS_URL and none, or the URL of an embedded Valkey that lives as long as the context, and the Valkey."""
    if configured.redis_url:
        yield configured.redis_url, None
        return
    with EmbeddedValkey(Path(configured.data_dir)) as valkey:
        log.get().info("valkey.started", data=str(valkey.home), joined=not valkey.owned)
        yield valkey.url, valkey


def processes(configured: Settings) -> Mapping[str, list[str]]:
    """Return the commands to run, by name."""
    command = [sys.executable, "-P", "-m", "pageline"]  # -P: the working directory must not shadow us
    several = configured.media_processes > 1
    media = [f"media.{n}" if several else "media" for n in range(FIRST_MEDIA, configured.media_processes + FIRST_MEDIA)]
    names = ["web", *media, "action", *(["dashboard"] if configured.dashboard_port else [])]
    return {name: [*command, name.split(".")[0]] for name in names}
