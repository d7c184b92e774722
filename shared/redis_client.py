"""redis-py's client for an address of ours: for RQ's own code and the dashboard; everything else goes by `Wire`."""

from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import redis
from redis.sentinel import Sentinel

from shared.redis_address import NO, WAIT_REPLICAS, Address


def connect(url: str) -> redis.Redis:
    """Return a client that follows the primary; it connects when it is used.

    Raises:
        BadSetting: the URL is none.
    """
    address, (rest, _, query) = Address.from_url(url), url.partition("?")
    options = {name: value for name, value in parse_qsl(query) if name != WAIT_REPLICAS}
    if address.sentinels is None:
        return redis.Redis.from_url(f"{rest}?{urlencode(options)}")
    tls = _tls_of(options) if address.tls else {}
    known = address.sentinels
    untyped = cast("Any", Sentinel)
    sentinel = untyped(known.hosts, sentinel_kwargs={**tls, **_credentials(known.username, known.password)})
    ours = _credentials(address.username, address.password)
    client: redis.Redis = sentinel.master_for(known.primary, db=address.database, **ours, **tls)
    return client


def _credentials(username: str, password: str) -> dict[str, Any]:
    return {"username": username or None, "password": password or None}


def _tls_of(options: dict[str, str]) -> dict[str, Any]:
    """Return what the `ssl_…` options of a URL are to redis-py's connections."""
    named: dict[str, Any] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if "ssl_check_hostname" in named:
        named["ssl_check_hostname"] = named["ssl_check_hostname"].lower() not in NO
    return {"ssl": True, **named}
