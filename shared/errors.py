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


class MessageFailed(PagelineError):
    """A message was not sent, or, where `ambiguous`, perhaps it was; the text has the cause and any known remedy."""

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        code: int | None = None,
        subcode: int | None = None,
        fbtrace_id: str | None = None,
        remedy: str = "",
        ambiguous: bool = False,
    ) -> None:
        named = {"code": code, "subcode": subcode, "fbtrace_id": fbtrace_id}
        codes = ", ".join(f"{name} {value}" for name, value in named.items() if value)
        said = message.rstrip(".") + (f" ({codes})." if codes else ".")
        doubt = "It is not known whether the message was sent." if ambiguous else ""
        super().__init__(" ".join(sentence for sentence in (said, doubt, remedy) if sentence))
        self.cause = cause
        """`graph`, `unreachable`, `no_reply`, `no_token`, `not_taken` (by an action worker) or `redis_away`."""
        self.code = code
        self.subcode = subcode
        self.fbtrace_id = fbtrace_id
        self.remedy = remedy
        self.ambiguous = ambiguous
