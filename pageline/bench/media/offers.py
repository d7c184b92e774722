"""What the far end reads in an offer."""

import re
from typing import NamedTuple, Self


class Offered(NamedTuple):
    """What an answer takes from the offer."""

    mid: str
    opus: int

    @classmethod
    def read(cls, offer: str) -> Self:
        """Return the first section's mid and the payload type of Opus.

        Raises:
            ValueError: there is none.
        """
        mid, opus = re.search(r"a=mid:(\S+)", offer), re.search(r"(?i)a=rtpmap:(\d+) opus/48000/2", offer)
        if mid is None or opus is None:
            raise ValueError("the offer has no audio section with Opus")
        return cls(mid[1], int(opus[1]))
