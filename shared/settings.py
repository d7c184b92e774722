"""Settings from the environment, or a Page's table in `PAGES_FILE`; the names are a contract (docs/settings.md)."""

import os
import shlex
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from shared import api_keys, outward
from shared.api_keys import ApiKey
from shared.choice import Choice, choose, possible
from shared.errors import BadSetting
from shared.ice_servers import IceServer, read_servers
from shared.pages import Page, read_pages
from shared.recording import RECORD_CONSENT
from shared.records.addresses import WEBHOOKS, Address, read_addresses
from shared.redis_address import confirmed_by, trusting
from shared.standard_webhooks import key_of

DEFAULT_HANDLER: Final = "workers.handlers.announce:answer"

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, rename="upper", kw_only=True, dict=True):
    """Every setting, with its default; an empty variable counts as unset."""

    redis_url: str = ""
    redis_ca_file: str = ""
    redis_wait_replicas: Annotated[int, msgspec.Meta(ge=0)] = 0
    meta_app_secret: str = ""
    meta_verify_token: str = ""
    page_tokens: str = ""
    pages_file: str = ""
    graph_url: str = "https://graph.facebook.com"
    graph_version: Annotated[str, msgspec.Meta(pattern=r"^v\d+\.\d+$")] = "v26.0"
    call_handler: str = DEFAULT_HANDLER
    call_handlers: str = ""
    call_fallback: str = ""
    host: str = ""
    port: Port | None = None
    dashboard_port: Port = 9181
    dashboard_password: str = ""
    media_capacity: Count = 25
    media_processes: Count = 1
    web_concurrency: Count = 1
    accept_deadline_seconds: Seconds = 55
    drain_seconds: Seconds = 25
    lease_seconds: Annotated[float, msgspec.Meta(ge=2)] = 6
    redis_grace_seconds: Seconds = 60
    retention_hours: Count = 48
    log_hours: Count | None = None
    data_dir: str = "./.pageline"
    recordings_url: str = ""
    recordings_retention_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    records_sinks: str = ""
    records_webhook_secret: str = ""
    records_psid: Literal["off", "on"] = "off"
    media_addresses: str = ""
    media_ports: str = ""
    media_dtx: bool = False
    media_version_start: Annotated[int, msgspec.Meta(ge=0)] = 0
    media_update_answer: Literal["off", "on"] = "off"
    ice_servers: str = ""
    ice_username: str = ""
    ice_password: str = ""
    ice_transport_policy: Literal["all", "relay"] = "all"
    webhook_forward_url: str = ""
    call_metrics: Literal["on", "off"] = "on"
    meta_metrics_spelling: Literal["sec", "ms"] = "sec"
    meta_app_id: str = ""
    pages_watch_seconds: Annotated[float, msgspec.Meta(ge=0)] = 300
    pageline_api_keys: str = ""
    tts_command: str = ""
    fallback_prompt: str = ""
    stream_account_sid: str = ""
    stream_auth_token: str = ""
    log_format: str = ""

    @property
    def lease_ms(self) -> int:
        """Return the length of a media worker's lease."""
        return int(self.lease_seconds * 1000)

    @property
    def kept_log_hours(self) -> int:
        """Return for how many hours a call's log is kept after its end."""
        if self.log_hours is not None and self.log_hours > self.retention_hours:
            raise BadSetting(
                f"LOG_HOURS={self.log_hours} is more than RETENTION_HOURS={self.retention_hours}. What webhooks are "
                "known by is kept as long as the logs or longer: raise RETENTION_HOURS as well."
            )
        return self.log_hours or self.retention_hours

    @property
    def http_host(self) -> str:
        """Return where the web process listens: everywhere only where a platform set the port."""
        return self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")  # noqa: S104 the platform's router needs it

    @property
    def http_port(self) -> int:
        """Return the web process's port."""
        return 8000 if self.port is None else self.port

    @property
    def local_addresses(self) -> tuple[str, ...]:
        """Return the addresses media is gathered on; empty means all but loopback."""
        return _listed(self.media_addresses)

    @property
    def media_port_range(self) -> tuple[int, int] | None:
        """Return the UDP ports media may use, both ends included; none means any."""
        if not self.media_ports:
            return None
        low, _, high = self.media_ports.partition("-")
        try:
            ports = int(low), int(high or low)
        except ValueError:
            ports = (0, 0)
        if not 0 < ports[0] <= ports[1] < 65536:
            raise BadSetting(f"MEDIA_PORTS={self.media_ports} is no port range. Write it like 40000-40999.")
        return ports

    @property
    def known_ice_servers(self) -> tuple[IceServer, ...]:
        """Return the STUN and TURN servers."""
        servers = read_servers(_listed(self.ice_servers), self.ice_username, self.ice_password)
        if self.ice_transport_policy == "relay" and not any(server.relays for server in servers):
            raise BadSetting("ICE_TRANSPORT_POLICY=relay, but ICE_SERVERS names no TURN server.")
        return servers

    @property
    def recordings(self) -> Path:
        """Return the folder recordings are written to."""
        url = "" if self.recordings_store else self.recordings_url
        return (Path(urlsplit(url).path) if url else Path(self.data_dir) / "recordings").absolute()

    @property
    def recordings_store(self) -> str:
        """Return the URL of the store that recordings are brought to; "" where they stay in the folder."""
        if urlsplit(self.recordings_url).password:
            raise BadSetting(
                "RECORDINGS_URL holds a password, and the URLs of recordings are logged. Take it out, and give it as "
                "fsspec has it: for sftp://, say, in FSSPEC_SFTP_USERNAME and FSSPEC_SFTP_PASSWORD."
            )
        return "" if urlsplit(self.recordings_url).scheme in ("", "file") else self.recordings_url

    @property
    def record_addresses(self) -> tuple[Address, ...]:
        """Return where call records go; refuse to send unsigned ones."""
        addresses = read_addresses(_listed(self.records_sinks))
        hook = next((address.name for address in addresses if address.scheme in WEBHOOKS), "")
        if hook and not self.records_webhook_secret:
            raise BadSetting(
                f"RECORDS_WEBHOOK_SECRET is not set, and RECORDS_SINKS names {hook}. Choose any secret string, "
                "or base64 behind whsec_, and give the receiver the same one."
            )
        try:
            key_of(self.records_webhook_secret)
        except ValueError as error:
            raise BadSetting(f"RECORDS_WEBHOOK_SECRET is not usable: {error}.") from None
        return addresses

    @property
    def tts_argv(self) -> tuple[str, ...]:
        """Return the program that speaks and its arguments; empty where there is none."""
        try:
            argv = tuple(shlex.split(self.tts_command))
        except ValueError as error:
            raise BadSetting(f"TTS_COMMAND={self.tts_command} is not usable: {error}.") from error
        if argv and shutil.which(argv[0]) is None:
            raise BadSetting(
                f"TTS_COMMAND={self.tts_command}: there is no program {argv[0]}. Install it, or write one that "
                "there is, such as TTS_COMMAND='espeak-ng --stdin --stdout' or TTS_COMMAND='flite -o /dev/stdout'."
            )
        return argv

    @cached_property
    def app_secrets(self) -> tuple[bytes, ...]:
        """Return the app secrets, newest first, while one is being rotated; refuse to go on without one."""
        secrets = tuple(secret.encode() for secret in _listed(self.meta_app_secret))
        if not secrets:
            raise BadSetting(
                "META_APP_SECRET is not set. Find it in the App Dashboard under App settings > Basic > App secret."
            )
        return secrets

    @cached_property
    def api_keys(self) -> tuple[ApiKey, ...]:
        """Return the keys that open `/v1` and the console; none close them."""
        return api_keys.read(_listed(self.pageline_api_keys))

    @property
    def proving_secret(self) -> bytes:
        """Return the app secret that proves requests to Graph; empty where there is none, and then none is proved."""
        return next((secret.encode() for secret in _listed(self.meta_app_secret)), b"")

    @cached_property
    def verify_token(self) -> bytes:
        """Return the token Meta shows when the callback URL is set; refuse to go on without one."""
        if not self.meta_verify_token:
            raise BadSetting(
                "META_VERIFY_TOKEN is not set. Choose any secret string and enter the same one in the App Dashboard "
                "under Webhooks > Page > Edit subscription > Verify token."
            )
        return self.meta_verify_token.encode()

    @cached_property
    def required_redis_url(self) -> str:
        """Return the URL of Redis; refuse to go on without one."""
        if not self.redis_url:
            raise BadSetting(
                "REDIS_URL is not set. Set it to your Redis or Valkey, for example redis://127.0.0.1:6379/0, "
                "or run `pageline up`, which starts an embedded one."
            )
        return self.redis_url

    @cached_property
    def pages(self) -> dict[str, Page]:
        """Return what is configured per Page, from PAGES_FILE and PAGE_TOKENS, as it was when first asked for."""
        return self.read_pages()

    def read_pages(self) -> dict[str, Page]:
        """Read what is configured per Page, as it is now."""
        pages = read_pages(Path(self.pages_file)) if self.pages_file else {}
        for pair in _listed(self.page_tokens):
            page, equals, token = pair.partition("=")
            if not (page and equals and token):
                raise BadSetting("PAGE_TOKENS is not a list of pageid=token pairs, separated by commas.")
            pages[page] = msgspec.structs.replace(pages.get(page, Page()), token=token)
        return pages

    @property
    def page_token_by_page(self) -> dict[str, str]:
        """Return the Page access tokens; refuse to go on without any."""
        return tokens_of(self.pages)

    @property
    def handlers(self) -> frozenset[str]:
        """Return every `module:function` that is configured."""
        return frozenset(choice.handler for choice in (*self.choices, *self.without_options))

    @property
    def without_options(self) -> tuple[Choice, ...]:
        """Return the handlers that are configured for no Page."""
        names = (self.call_handler, *_listed(self.call_handlers), *_listed(self.call_fallback))
        return tuple(Choice(name, {}) for name in names)

    def may_run(self, handler: str) -> bool:
        """Tell whether whoever wants a call placed may name this handler: one in a module that is configured."""
        module, colon, function = handler.partition(":")
        return bool(colon and function) and module in {name.partition(":")[0] for name in self.handlers}

    def choose(self, page: str, *, caller: str = "", direction: str = "", at_ms: int = 0) -> Choice:
        """Return the handler that takes a call, its options, and who takes over from it."""
        table = self.pages.get(page, Page())
        return self._filled(table, choose(table, caller=caller, direction=direction, at_ms=at_ms))

    def _filled(self, page: Page, choice: Choice) -> Choice:
        fallback = _listed(self.call_fallback) if choice.fallback is None else choice.fallback
        consent = {RECORD_CONSENT: page.record_consent} if page.record_consent else {}
        return Choice(choice.handler or self.call_handler, {**consent, **choice.options}, fallback)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Return every handler that PAGES_FILE may choose, or let take over, with the options that it has then."""
        chosen = [self._filled(page, choice) for page in self.pages.values() for choice in possible(page)]
        return tuple(Choice(name, each.options) for each in chosen for name in (each.handler, *(each.fallback or ())))


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment.

    Raises:
        BadSetting: one has no usable value; the message names it.
    """
    given = {name: value for name, value in environ.items() if value}
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`")
        raise BadSetting(f"{name}={given.get(name, '')!r} is not usable: {what[0].lower()}{what[1:]}.") from error
    if settings.webhook_forward_url:
        try:
            outward.check(settings.webhook_forward_url, "WEBHOOK_FORWARD_URL")
        except outward.UrlRefused as refused:
            raise BadSetting(f"{refused}.") from refused
    url = trusting(settings.redis_url, settings.redis_ca_file)
    return msgspec.structs.replace(settings, redis_url=confirmed_by(url, settings.redis_wait_replicas))


def tokens_of(pages: Mapping[str, Page]) -> dict[str, str]:
    """Return the access tokens of these Pages, read from wherever they are kept.

    Raises:
        BadSetting: there is none, or one cannot be used.
    """
    tokens = {page: token for page, table in pages.items() if (token := table.secret(page))}
    if not tokens:
        raise BadSetting(
            "PAGE_TOKENS (or PAGES_FILE) is not set. Write PAGE_TOKENS=<page id>=<Page access token>; the token is "
            "made in the App Dashboard under Messenger > Messenger API settings > Generate access tokens."
        )
    for page, token in tokens.items():
        if not _is_header_text(token):
            raise BadSetting(
                f"The access token of Page {page} holds a space, a line break or another thing no token has. "
                "PAGE_TOKENS separates its pairs by commas."
            )
    return tokens


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _is_header_text(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
