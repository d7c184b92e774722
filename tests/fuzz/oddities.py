"""What may be wrong with JSON, with text and with bytes, as Hypothesis strategies that start from Meta's samples."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from shared.bus import PREFIX

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"

TEXTS: Final = st.sampled_from(
    [
        *("", " ", "\x00", "c_1\x00", "a\nb\r\nc", "\t", "\x7f", "\u2028", "\ufeff", "\ufffd", "\ud83d", "x\udc00"),
        *("c" * 256, "c" * 257, "\N{TELEPHONE RECEIVER}" * 256, "é" * 300, "ﷺ" * 64, "İ", "ß"),
        *(
            "*",
            "c_*",
            "[a-z]",
            "{0}",
            "{}",
            f"{PREFIX}call:c_1",
            "c_1:s:connect",
            "s:connect",
            "log",
            "..",
            "../../etc",
        ),
        *('"', "\\", "\\ud800", '","fact":"Closed', "null", "true", "NaN", "Infinity", "-1", "1e400", "9" * 400, "١٢٣"),
        *("connect", "terminate", "CONNECT", "user_initiated", "business_initiated", "completed", "v=0", "v=0\r\n"),
    ]
) | st.text(max_size=12)

NUMBERS: Final = (
    st.sampled_from(
        [
            *(0, 1, -1, 1671644824, -1671644824, 1671644824000, 10**15, 2**31, 2**53 + 1, 2**63, 2**64, -(2**64)),
            *(10**30, -(10**30), 10**300, 0.5, -0.0, 1e308, -1e308, 5e-324, 1e16, 1671644824.25),
        ]
    )
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)

LEAVES: Final = st.none() | st.booleans() | NUMBERS | TEXTS


def nested(depth: int) -> Any:
    """Return a list within lists."""
    tree: Any = []
    for _ in range(depth):
        tree = [tree]
    return tree


VALUES: Final = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=4),
    st.dictionaries(TEXTS, LEAVES, max_size=3),
    st.sampled_from([nested(40), [0] * 3000, {str(n): n for n in range(300)}]),
)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk everything inside a JSON tree by the path that leads there."""
    inside: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, branch in inside:
        yield (*path, key)
        yield from _places(branch, (*path, key))


@st.composite
def mutants(draw: st.DrawFn, tree: Any, *, at_most: int = 5) -> Any:
    """Change a JSON tree in a few places: fields dropped, renamed, added, retyped, repeated, wrapped."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(0, at_most))):
        places = list(_places(tree))
        if not places:
            return copy.deepcopy(draw(VALUES))
        *above, key = draw(st.sampled_from(places))
        branch = tree
        for step in above:
            branch = branch[step]
        match draw(st.sampled_from(["drop", "retype", "retype", "rename", "add", "repeat", "wrap"])):
            case "drop":
                del branch[key]
            case "rename" if isinstance(branch, dict):
                branch[draw(TEXTS)] = branch.pop(key)
            case "add" if isinstance(branch, dict):
                branch[draw(TEXTS)] = copy.deepcopy(draw(VALUES))
            case "repeat" if isinstance(branch, list):
                branch.insert(key, copy.deepcopy(branch[key]))
            case "wrap":
                branch[key] = [branch[key]]
            case _:
                branch[key] = copy.deepcopy(draw(VALUES))
    return tree


def as_json(tree: Any, *, ascii_only: bool = True) -> bytes:
    """Write JSON; lone surrogates are escaped either way, since UTF-8 cannot hold them."""
    text = json.dumps(tree, ensure_ascii=ascii_only, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass" if not ascii_only else "strict")


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Damage bytes as a bad line would: flipped, cut, doubled, with rubbish in between."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["flip", "cut", "double", "rubbish", "swap"])):
            case "flip" if at < len(body):
                body = body[:at] + bytes([body[at] ^ draw(st.integers(1, 255))]) + body[at + 1 :]
            case "cut":
                body = body[:at]
            case "double":
                body = body[: at + draw(st.integers(0, 200))] + body[at:]
            case "swap":
                body = body[at:] + body[:at]
            case _:
                body = body[:at] + draw(st.binary(max_size=8)) + body[at:]
    return body


def samples(folder: str, pattern: str) -> list[bytes]:
    """Return the bytes of Meta's samples."""
    found = [path.read_bytes() for path in sorted((FIXTURES / folder).glob(pattern))]
    assert found, f"no sample of {folder}/{pattern}"
    return found
