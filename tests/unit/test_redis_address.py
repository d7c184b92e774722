"""Where REDIS_URL leads: a server, or the Sentinels who know it."""

from dataclasses import replace

import certifi
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from shared import redis_client, settings
from shared.errors import BadSetting
from shared.redis_address import Address, Host, confirmed_by, trusting


def test_sentinels_are_hosts_with_ports_or_without_and_a_name() -> None:
    address = Address.from_url(
        "redis+sentinel://me:p%40ss@one:26380,[::1]:26381,three/line/3?sentinel_password=s3cret&sentinel_username=all"
    )
    assert address.sentinels is not None
    assert address.sentinels.hosts == (Host("one", 26380), Host("::1", 26381), Host("three", 26379))
    assert (address.sentinels.primary, address.database, address.tls) == ("line", 3, None)
    assert address.at(Host("new", 6380)).credentials == (("AUTH", "me", "p@ss"),)
    assert address.of_sentinel(Host("one", 26380)).credentials == (("AUTH", "all", "s3cret"),)
    for shown in (str(address), repr(address), str(address.at(Host("new", 6380)))):
        assert "p@ss" not in shown
        assert "s3cret" not in shown


def test_tls_goes_to_the_sentinels_as_well() -> None:
    address = Address.from_url("rediss+sentinel://one,two/line?ssl_cert_reqs=none")
    assert address.tls is not None
    assert address.of_sentinel(Host("one", 26379)).tls is address.tls
    assert address.at(Host("new", 6379)).tls is address.tls


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://one:26379", "by which name"),
        ("redis+sentinel://one:26379,,two/line", "a comma too many"),
        ("redis+sentinel://one:x/line", "Port"),
        ("redis+cluster://one/line", "begins with none of"),
        ("http://one", "begins with none of"),
        ("redis://one?wait_replicas=many", "invalid literal"),
    ],
)
def test_what_leads_nowhere_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(BadSetting, match=why) as refusal:
        Address.from_url(url.replace("://", "://:hidden@"))
    assert "hidden" not in str(refusal.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_bad_setting(text: str) -> None:
    for url in (text, f"redis+sentinel://{text}", f"redis://{text}"):
        try:
            Address.from_url(url)
        except BadSetting:
            continue


def test_replicas_to_wait_for_come_from_the_setting_unless_the_url_has_its_own() -> None:
    given = {"REDIS_URL": "redis://one/2?ssl_cert_reqs=none", "REDIS_WAIT_REPLICAS": "2"}
    assert Address.from_url(settings.load(given).required_redis_url).replicas == 2
    given["REDIS_URL"] = "redis://one/2?wait_replicas=1"
    assert Address.from_url(settings.load(given).required_redis_url).replicas == 1
    assert settings.load({"REDIS_WAIT_REPLICAS": "1"}).redis_url == ""
    with pytest.raises(BadSetting, match="REDIS_WAIT_REPLICAS='-1'"):
        settings.load({"REDIS_WAIT_REPLICAS": "-1"})


@pytest.mark.parametrize("url", ["unix:///there/valkey.sock?password=x", "unix:///there/valkey.sock", "redis://one"])
def test_what_is_added_to_a_url_leaves_the_rest_of_it(url: str) -> None:
    address = Address.from_url(url)
    assert Address.from_url(confirmed_by(url, 1)) == replace(address, replicas=1)
    path = redis_client.connect(confirmed_by(url, 1)).connection_pool.connection_kwargs.get("path", "")
    assert path == address.path


def test_redis_py_is_told_all_but_what_is_ours() -> None:
    plain = redis_client.connect(confirmed_by("redis://me:p%40ss@one:7000/2?socket_timeout=3", 1))
    options = plain.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"], options["socket_timeout"]) == ("one", 7000, 2, 3)
    assert (options["username"], options["password"]) == ("me", "p@ss")
    url = trusting(
        "rediss+sentinel://:mine@one/line/2?ssl_check_hostname=false&sentinel_password=theirs", certifi.where()
    )
    led = redis_client.connect(url).connection_pool
    assert issubclass(led.connection_class, redis.SSLConnection)
    assert (led.connection_kwargs["password"], led.connection_kwargs["db"]) == ("mine", 2)
    assert led.connection_kwargs["ssl_check_hostname"] is False
    (asked,) = led.sentinel_manager.sentinels
    assert asked.connection_pool.connection_kwargs["password"] == "theirs"
    assert asked.connection_pool.connection_kwargs["ssl_ca_certs"] == certifi.where()
    assert issubclass(asked.connection_pool.connection_class, redis.SSLConnection)
