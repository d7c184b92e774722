"""How much of Graph's limits is used up, as the headers of its replies tell (rate-limiting guide).

They come only after enough traffic; whatever cannot be read is as good as absent.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from shared.unreadable import UNREADABLE

HIGH_PERCENT: Final = 90.0
"""From here on Graph may limit us soon; at 100 it does."""

_PLAIN: Final = ("x-app-usage", "x-page-usage")
_BY_CASE: Final = "x-business-use-case-usage"


class Usage(NamedTuple):
    """The fullest of all limits, in percent of a rolling window."""

    percent: float
    of: str
    """The header that says so, and for a business use case its type."""
    regain_s: float = 0.0
    """Until access returns, as Meta estimates; 0 while nothing is blocked."""

    @property
    def is_high(self) -> bool:
        """Tell whether a limit is near."""
        return self.percent >= HIGH_PERCENT


class _Counts(msgspec.Struct, frozen=True):
    call_count: float | None = None
    total_time: float | None = None
    total_cputime: float | None = None
    estimated_time_to_regain_access: float | None = None
    """Minutes."""
    type: str = ""

    @property
    def percent(self) -> float:
        return max(self.call_count or 0.0, self.total_time or 0.0, self.total_cputime or 0.0, 0.0)


_decode_counts = msgspec.json.Decoder(_Counts, strict=False).decode
_decode_cases = msgspec.json.Decoder(dict[str, list[_Counts]], strict=False).decode


def read_usage(headers: Mapping[str, str]) -> Usage | None:
    """Return what the headers of a reply say, at its worst; none where they say nothing readable."""
    told = [
        Usage(counts.percent, f"{name} {counts.type}".rstrip(), (counts.estimated_time_to_regain_access or 0.0) * 60)
        for name, counts in _told_by(headers)
    ]
    if not told:
        return None
    return max(told)._replace(regain_s=max(0.0, *(each.regain_s for each in told)))


def _told_by(headers: Mapping[str, str]) -> Iterable[tuple[str, _Counts]]:
    for name in (*_PLAIN, _BY_CASE):
        value = headers.get(name)
        if value is None:
            continue
        try:
            cases = _decode_cases(value) if name == _BY_CASE else {"": [_decode_counts(value)]}
        except UNREADABLE:
            continue
        for counts in cases.values():
            yield from ((name, each) for each in counts)
