"""What decoding JSON raises that comes from outside: all of it means that nothing can be read there."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""No JSON or not of that shape; no UTF-8; nested some thousand levels deep."""
