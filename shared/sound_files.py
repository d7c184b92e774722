"""Which files in the recordings folder are recordings of ours, told by their names alone.

`workers/media/recorder.py` names a recording `<call>-<epoch>[-<count>].opus`; one that is on its way to a URL bears the
URL's own ending. A note of a voicemail is beside it, with `.json` added.
"""

import re
from typing import Final

ENDINGS: Final = ("opus", "ogg", "wav")
"""Whatever `call.record` writes."""
_OURS: Final = re.compile(rf"[\w-]{{1,100}}-\d{{1,9}}(-\d{{1,9}})?\.({'|'.join(ENDINGS)})(\.json)?", re.ASCII)


def is_ours(name: str) -> bool:
    """Tell whether a file is named as we name a recording, or the note of one."""
    return _OURS.fullmatch(name) is not None


def is_of(name: str, call: str) -> bool:
    """Tell whether it is named as one of a call whose recordings' names begin with `call` and a hyphen."""
    rest = name.removeprefix(f"{call}-")
    return rest != name and is_ours(f"x-{rest}")
