"""Where a URL that somebody gave us may lead; for handlers that connect to one. See `shared.outward`."""

from shared.outward import Pinned, UrlRefused, check, pin, resolve

__all__ = ["Pinned", "UrlRefused", "check", "pin", "resolve"]
