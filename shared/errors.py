"""Errors that cross module borders. Each message names the call or the setting, the cause and the remedy."""


class PagelineError(Exception):
    """The root of every error raised on purpose."""


class BadSetting(PagelineError):
    """A setting is missing or unusable; the message names it and where to find its value."""


class RedisAway(PagelineError, ConnectionError):
    """Redis cannot be reached or did not confirm in time; the command may or may not have been carried out."""


class RedisForgot(RedisAway):
    """Redis was emptied: it does not know a call, or a worker, that it knew before. Who does may restore it."""


class LeaseLost(PagelineError):
    """Another worker owns the call, or may by now. Send nothing after this."""


class HandlerUnusable(PagelineError):
    """The module or function named as a handler cannot be used; the message says why."""


class NoValkey(PagelineError):
    """No server binary was found for the embedded Valkey, or it would not start."""
