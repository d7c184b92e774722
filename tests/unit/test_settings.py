"""Settings: the contract's names and defaults, and errors that say which setting and what to do."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import BadSetting
from shared.pages import Page
from shared.settings import Settings, load


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load({})
    assert settings.graph_url == "https://graph.facebook.com"
    assert settings.graph_version == "v26.0"
    assert settings.call_handler == "workers.handlers.announce:answer"
    assert (settings.http_host, settings.http_port, settings.dashboard_port) == ("127.0.0.1", 8000, 9181)
    assert (settings.media_processes, settings.web_concurrency) == (1, 1)
    assert settings.accept_deadline_seconds == 55
    assert (settings.drain_seconds, settings.lease_seconds, settings.redis_grace_seconds) == (25, 6, 60)
    assert (settings.retention_hours, settings.data_dir) == (48, "./.pageline")
    assert settings.local_addresses == ()
    assert settings.media_port_range is None
    assert not settings.media_dtx
    assert settings.lease_ms == 6_000


def test_logs_are_kept_as_long_as_the_marks_or_less() -> None:
    assert load({"RETENTION_HOURS": "72"}).kept_log_hours == 72
    assert load({"LOG_HOURS": "6"}).kept_log_hours == 6
    with pytest.raises(BadSetting, match="LOG_HOURS=60 is more than RETENTION_HOURS=48"):
        _ = load({"LOG_HOURS": "60"}).kept_log_hours


def test_an_empty_variable_counts_as_unset() -> None:
    assert load({"PORT": "", "GRAPH_VERSION": "", "MEDIA_CAPACITY": ""}) == load({})


def test_variables_of_others_are_none_of_our_business() -> None:
    assert load({"PATH": "bin", "port": "1"}) == load({})


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, "127.0.0.1"),
        ({"PORT": "8080"}, "0.0.0.0"),  # noqa: S104 this is what a platform's router needs
        ({"PORT": "8080", "HOST": "127.0.0.1"}, "127.0.0.1"),
        ({"HOST": "::1"}, "::1"),
    ],
)
def test_the_web_process_listens_everywhere_only_where_a_platform_set_the_port(
    environ: dict[str, str], host: str
) -> None:
    assert load(environ).http_host == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("GRAPH_VERSION", "26"),
        ("GRAPH_VERSION", "v26"),
        ("MEDIA_CAPACITY", "0"),
        ("MEDIA_DTX", "sometimes"),
        ("MEDIA_PROCESSES", "many"),
        ("WEB_CONCURRENCY", "1.5"),
        ("ACCEPT_DEADLINE_SECONDS", "0"),
        ("DRAIN_SECONDS", "-5"),
        ("LEASE_SECONDS", "0.5"),
        ("RETENTION_HOURS", "two"),
    ],
)
def test_an_unusable_value_is_named_with_its_setting(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"^{name}='{value}' is not usable: expected ") as refused:
        load({name: value})
    assert "\n" not in str(refused.value)


NEEDED: dict[str, tuple[Callable[[Settings], object], str]] = {
    "META_APP_SECRET": (lambda settings: settings.app_secrets, "App settings > Basic"),
    "META_VERIFY_TOKEN": (lambda settings: settings.verify_token, "Webhooks > Page"),
    "REDIS_URL": (lambda settings: settings.required_redis_url, "pageline up"),
    "PAGE_TOKENS": (lambda settings: settings.page_token_by_page, "Generate access tokens"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_setting_is_named_in_one_line_with_where_to_find_its_value(name: str) -> None:
    read, remedy = NEEDED[name]
    with pytest.raises(BadSetting) as refused:
        read(load({}))
    message = str(refused.value)
    assert message.startswith(name)
    assert remedy in message
    assert "\n" not in message


def test_several_app_secrets_are_read_in_their_order() -> None:
    assert load({"META_APP_SECRET": "new, old ,,"}).app_secrets == (b"new", b"old")


def test_a_secret_of_commas_only_is_none() -> None:
    with pytest.raises(BadSetting, match="META_APP_SECRET"):
        _ = load({"META_APP_SECRET": " , "}).app_secrets


@pytest.mark.parametrize("token", ["abc\n2=def", "abc def", "abc\x00", "äbc"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(BadSetting, match="Page 1") as refused:
        _ = load({"PAGE_TOKENS": f"1={token}"}).page_token_by_page
    assert "abc" not in str(refused.value)
    assert "def" not in str(refused.value)


def test_page_tokens_are_pairs_and_a_token_may_hold_an_equals_sign() -> None:
    settings = load({"PAGE_TOKENS": "1=abc==, 2=def"})
    assert settings.page_token_by_page == {"1": "abc==", "2": "def"}


@pytest.mark.parametrize("tokens", ["1", "1=", "=abc", "1=abc,2"])
def test_page_tokens_that_are_no_pairs_are_refused_without_being_shown(tokens: str) -> None:
    with pytest.raises(BadSetting, match=r"^PAGE_TOKENS .*pageid=token") as refused:
        _ = load({"PAGE_TOKENS": tokens}).pages
    assert "abc" not in str(refused.value)


# -- PAGES_FILE --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pages_file(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def write(text: str) -> dict[str, str]:
        path = tmp_path / "pages.toml"
        path.write_text(text)
        return {"PAGES_FILE": str(path)}

    return write


def test_a_page_of_the_file_has_its_token_and_handler(pages_file: Callable[[str], dict[str, str]]) -> None:
    settings = load({**pages_file('[1]\ntoken = "abc"\nhandler = "shop:answer"\n[2]\n'), "CALL_HANDLER": "all:answer"})
    assert settings.pages == {"1": Page(token="abc", handler="shop:answer"), "2": Page()}
    assert settings.page_token_by_page == {"1": "abc"}
    assert [settings.choose(page).handler for page in ("1", "2", "3")] == ["shop:answer", "all:answer", "all:answer"]


def test_page_tokens_add_to_the_file_and_win_over_it(pages_file: Callable[[str], dict[str, str]]) -> None:
    settings = load({**pages_file('[1]\ntoken = "old"\nhandler = "shop:answer"\n'), "PAGE_TOKENS": "1=new,2=def"})
    assert settings.page_token_by_page == {"1": "new", "2": "def"}
    assert settings.choose("1").handler == "shop:answer"


def test_a_token_may_be_kept_in_a_file_of_its_own(pages_file: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    settings = load(pages_file(f'[1]\ntoken_file = "{tmp_path / "token"}"\n'))
    assert settings.page_token_by_page == {"1": "abc"}


def test_a_token_may_be_kept_in_a_variable_of_its_own(
    pages_file: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "abc")
    assert load(pages_file('[1]\ntoken_env = "SHOP_TOKEN"\n')).page_token_by_page == {"1": "abc"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param('[1]\ntoken_env = "NOBODY_SET_THIS"\n', "NOBODY_SET_THIS", id="its variable is not set"),
        pytest.param('[1]\ntoken_file = "no-such-file"\n', "no-such-file", id="its token file is missing"),
    ],
)
def test_a_token_that_is_not_where_the_file_says_is_named(
    pages_file: Callable[[str], dict[str, str]], text: str, named: str
) -> None:
    with pytest.raises(BadSetting, match=rf"{named}.* Page 1"):
        _ = load(pages_file(text)).page_token_by_page


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[1\n", id="no TOML"),
        pytest.param('[1]\ntokn = "abc"\n', id="an unknown key"),
        pytest.param("[1]\ntoken = 5\n", id="a token that is no text"),
        pytest.param('token = "abc"\n', id="no table per Page"),
    ],
)
def test_an_unusable_pages_file_is_named(pages_file: Callable[[str], dict[str, str]], text: str) -> None:
    environ = pages_file(text)
    with pytest.raises(BadSetting, match=rf"^PAGES_FILE={environ['PAGES_FILE']} is not usable: "):
        _ = load(environ).pages


def test_a_pages_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pages.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadSetting, match="PAGES_FILE"):
        _ = load({"PAGES_FILE": str(path)}).pages


def test_a_missing_pages_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"^PAGES_FILE=.*none\.toml cannot be read"):
        _ = load({"PAGES_FILE": str(tmp_path / "none.toml")}).pages


# -- media -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ports", "expected"), [("40000-40999", (40000, 40999)), ("5000", (5000, 5000))])
def test_media_ports_are_a_range_with_both_ends(ports: str, expected: tuple[int, int]) -> None:
    assert load({"MEDIA_PORTS": ports}).media_port_range == expected


@pytest.mark.parametrize("ports", ["a-b", "5-4", "0-10", "1-65536", "1-2-3", "-"])
def test_media_ports_that_are_no_range_are_refused_with_an_example(ports: str) -> None:
    with pytest.raises(BadSetting, match=r"^MEDIA_PORTS=.*like 40000-40999"):
        _ = load({"MEDIA_PORTS": ports}).media_port_range


@pytest.mark.parametrize(("given", "chosen"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_pauses_are_left_out_by_choice(given: str, chosen: bool) -> None:
    assert load({"MEDIA_DTX": given}).media_dtx is chosen


def test_media_addresses_are_a_list() -> None:
    assert load({"MEDIA_ADDRESSES": "127.0.0.1, ::1"}).local_addresses == ("127.0.0.1", "::1")


CREDENTIALS = {"ICE_USERNAME": "line", "ICE_PASSWORD": "s3cret"}


@pytest.mark.parametrize(
    ("url", "host", "port", "transport", "tls"),
    [
        ("turn:turn.example.org", "turn.example.org", 3478, "udp", False),
        ("turn:turn.example.org:3479?transport=tcp", "turn.example.org", 3479, "tcp", False),
        ("TURNS:turn.example.org", "turn.example.org", 5349, "tcp", True),
        ("turns:[2001:db8::1]:443?transport=tcp", "2001:db8::1", 443, "tcp", True),
        ("stun:192.0.2.1", "192.0.2.1", 3478, "udp", False),
    ],
)
def test_ice_servers_are_urls(url: str, host: str, port: int, transport: str, tls: bool) -> None:
    [server] = load({"ICE_SERVERS": url, **CREDENTIALS}).known_ice_servers
    assert (server.host, server.port, server.transport, server.tls) == (host, port, transport, tls)
    assert server.relays is url.lower().startswith("turn")
    assert load({"ICE_SERVERS": str(server), **CREDENTIALS}).known_ice_servers == (server,)
    assert "s3cret" not in f"{server} {server!r}"


def test_ice_servers_keep_their_order_and_the_turn_servers_get_the_credentials() -> None:
    servers = load({"ICE_SERVERS": "turn:a?transport=tcp, stun:b,turns:c", **CREDENTIALS}).known_ice_servers
    assert [(server.host, server.username, server.password) for server in servers] == [
        ("a", "line", "s3cret"),
        ("b", "", ""),
        ("c", "line", "s3cret"),
    ]
    assert load({}).known_ice_servers == ()


@pytest.mark.parametrize(
    ("environ", "remedy"),
    [
        ({"ICE_SERVERS": "turn.example.org", **CREDENTIALS}, "Write it like turn:turn.example.org:3478"),
        ({"ICE_SERVERS": "turn:a:70000", **CREDENTIALS}, "ICE_SERVERS: turn:a:70000 is no URL"),
        ({"ICE_SERVERS": "turn:a?transport=sctp", **CREDENTIALS}, "is no URL of a STUN or TURN server"),
        ({"ICE_SERVERS": "turn:a:3478:me:secret", **CREDENTIALS}, "ICE_SERVERS holds credentials. Put them into"),
        ({"ICE_SERVERS": "turn://a", **CREDENTIALS}, "is no URL of a STUN or TURN server"),
        ({"ICE_SERVERS": "turn:a,", "ICE_USERNAME": "line"}, "ICE_USERNAME or ICE_PASSWORD is not set"),
        ({"ICE_SERVERS": "turns:a?transport=udp", **CREDENTIALS}, "TURN over DTLS is not spoken here"),
        ({"ICE_SERVERS": "stun:a?transport=udp"}, "a STUN URL takes no"),
        ({"ICE_SERVERS": "stun:a", "ICE_TRANSPORT_POLICY": "relay"}, "ICE_SERVERS names no TURN server"),
    ],
)
def test_ice_servers_that_cannot_work_are_refused_with_the_remedy(environ: dict[str, str], remedy: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(remedy)):
        _ = load(environ).known_ice_servers


def test_credentials_in_an_ice_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(BadSetting, match="ICE_USERNAME and ICE_PASSWORD") as refused:
        _ = load({"ICE_SERVERS": "turn:line:s3cret@a"}).known_ice_servers
    assert "s3cret" not in str(refused.value)


def test_the_ice_transport_policy_is_one_of_two() -> None:
    assert load({}).ice_transport_policy == "all"
    with pytest.raises(BadSetting, match="ICE_TRANSPORT_POLICY"):
        load({"ICE_TRANSPORT_POLICY": "host"})


def test_recordings_go_under_the_data_folder_or_where_they_are_sent(tmp_path: Path) -> None:
    assert load({"DATA_DIR": str(tmp_path)}).recordings == tmp_path / "recordings"
    assert load({"RECORDINGS_URL": "file:///srv/calls"}).recordings == Path("/srv/calls")
    stored = load({"RECORDINGS_URL": "s3://calls", "DATA_DIR": str(tmp_path)})
    assert (stored.recordings, stored.recordings_store) == (tmp_path / "recordings", "s3://calls")


def test_a_password_in_the_url_of_recordings_is_refused_and_not_repeated() -> None:
    settings = load({"RECORDINGS_URL": "sftp://me:s3cret@store/calls"})
    with pytest.raises(BadSetting, match="FSSPEC_SFTP_PASSWORD") as refused:
        _ = settings.recordings_store
    assert "s3cret" not in str(refused.value)
    assert load({"RECORDINGS_URL": "sftp://me@store/calls"}).recordings_store == "sftp://me@store/calls"
