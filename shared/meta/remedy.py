"""What an operator can do about an error of Graph's: one sentence per condition (error-handling guide; error-codes)."""

from typing import Final

from shared.meta.graph import THROTTLED_CODES, TOKEN_CODES, GraphError

HOW_TO_RENEW: Final = (
    "Make a new Page access token (App Dashboard, Messenger > Messenger API settings > Generate access tokens) and put "
    "it into the Page's token_file or PAGES_FILE, which are read again by themselves, or into PAGE_TOKENS, and then "
    "restart the action workers."
)
_WHY_THE_TOKEN: Final = {
    458: "The app was removed from the Page.",
    459: "Whoever made the token must log in at Facebook and pass a security check.",
    460: "The password of whoever made the token was changed.",
    463: "The access token has expired.",
    464: "Whoever made the token has not confirmed their account.",
    467: "The access token is no longer valid.",
}
_OUTSIDE_WINDOW: Final = "The consumer has to write or call first: Meta's 24 hours for an answer are over."
_ASKED_TOO_OFTEN: Final = "Meta allows two permission requests a day in one conversation: ask again tomorrow."
_REMEDIES: Final = {
    341: "The app is over its limit: look at App Dashboard > Rate limiting, and wait.",
    368: "Meta has blocked the Page for a while: look at its Page Quality tab; the block ends by itself.",
    2018389: "Calling is not enabled for this Page: `pageline doctor` says what is missing.",
    2018392: "Meta could not read our SDP: report this with `pageline call ID --export`.",
    2018393: "The Page has no part in that call: check that PAGE_TOKENS gives each Page its own token.",
    2018394: "The call is another Page's: check that PAGE_TOKENS gives each Page its own token.",
    2018278: _OUTSIDE_WINDOW,
    2018065: _OUTSIDE_WINDOW,
    2534022: _OUTSIDE_WINDOW,
    1893016: _ASKED_TOO_OFTEN,
    2534040: _ASKED_TOO_OFTEN,
    1893056: "Calling is switched off in the Page's call settings: `pageline doctor --fix` switches it on.",
}
_PERMISSION: Final = (
    "A permission is missing: the app needs pages_messaging with Advanced Access (App Review), and the token the task "
    "MODERATE on the Page."
)
_PERMISSION_CODES: Final = frozenset({3, 10, *range(200, 300)})
_LIMITED: Final = "Graph limits us: it is tried again by itself; if this lasts, place and answer fewer calls."
_DOWN: Final = "Look at Meta's status page, at GRAPH_URL, and at the network between."


def remedy_for(error: GraphError | None) -> str:
    """Return what can be done, or "" where nobody knows; no error means that Graph said nothing readable."""
    if error is None:
        return _DOWN
    for code in (error.error_subcode, error.code):
        if code in _REMEDIES:
            return _REMEDIES[code]
    if error.code in TOKEN_CODES:
        return f"{_WHY_THE_TOKEN.get(error.error_subcode or 0, 'The access token is not valid.')} {HOW_TO_RENEW}"
    if error.code in _PERMISSION_CODES:
        return _PERMISSION
    return _LIMITED if {error.code, error.error_subcode} & THROTTLED_CODES else ""
