"""Settings of the handlers that come with pageline: environment variables, an empty one counting as unset."""

import os

from pageline import outward
from pageline.playable import check_sound
from pageline.signing import key_of


def text(name: str, default: str = "") -> str:
    """Return a setting."""
    return os.environ.get(name) or default


def seconds(name: str, default: float) -> float:
    """Return a setting that is a length of time.

    Raises:
        ValueError: it is none; the message names it.
    """
    given = text(name)
    try:
        value = float(given or default)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={given} is not usable: write seconds, more than 0, such as {default:g}")
    return value


def signing_secret(name: str) -> str:
    """Return a secret that signs, as it is or as base64 behind `whsec_`, or "".

    Raises:
        ValueError: what is behind `whsec_` is none; the message names the setting and not its value.
    """
    given = text(name)
    try:
        key_of(given)
    except ValueError as error:
        raise ValueError(f"{name} is not usable: {error}") from None
    return given


def url(name: str) -> str:
    """Return a setting that is the URL of a web server, or "".

    Raises:
        ValueError: it is none, or leads where it may not; the message names it.
    """
    given = text(name)
    if given and not given.startswith(("http://", "https://")):
        raise ValueError(f"{name}={given} is not usable: write a URL that begins with https:// or http://")
    if given:
        outward.check(given, name)
    return given


def choice(name: str, *known: str) -> str:
    """Return a setting that is one of these words; the first where it is not set.

    Raises:
        ValueError: it is none of them; the message names them.
    """
    given = text(name, known[0])
    if given not in known:
        raise ValueError(f"{name}={given} is not usable: write {' or '.join(known)}")
    return given


def sound(name: str, default: str) -> str:
    """Return a setting that is the path of a sound.

    Raises:
        ValueError: there is no such file, or it is no sound; the message names it.
    """
    given = text(name, default)
    try:
        check_sound(given)
    except ValueError as error:
        raise ValueError(f"{name}={given} is not usable: {error}") from error
    return given
