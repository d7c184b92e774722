"""The Pages an action worker acts for, as their files say now: a new token or table needs no restart.

PAGES_FILE and every `token_file` are read again when they have changed; the environment (PAGE_TOKENS, `token_env`)
cannot. A file that cannot be used changes nothing: what was read last goes on, and the log says how to mend it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

from shared import log
from shared.errors import BadSetting
from shared.meta.call_settings import CallSettings
from shared.pages import Page
from shared.settings import Settings, tokens_of

LOOKED_AT_EVERY_S: Final = 2.0

_log = log.get()


class Pages(Mapping[str, str]):
    """The access tokens by Page, and what their tables want."""

    def __init__(self, settings: Settings) -> None:
        """Read everything.

        Raises:
            BadSetting: something cannot be used: at the start that is an error, later it is not.
        """
        self._settings = settings
        self._file = (Path(settings.pages_file),) if settings.pages_file else ()
        self._watched = {path: _stamp(path) for path in self._file}
        self._tables: dict[str, Page] = {}
        self._tokens: dict[str, str] = {}
        self._read()

    def __getitem__(self, page: str) -> str:
        """Return a Page's access token."""
        return self._tokens[page]

    def __iter__(self) -> Iterator[str]:
        """Walk the Pages that have a token."""
        return iter(self._tokens)

    def __len__(self) -> int:
        """Return how many Pages have a token."""
        return len(self._tokens)

    def wanted(self, page: str) -> CallSettings:
        """Return the call settings that the Page's table wants."""
        return self._tables.get(page, Page()).call_settings

    def look(self) -> None:
        """Read the files again if one of them has changed."""
        if all(_stamp(path) == stamp for path, stamp in self._watched.items()):
            return
        before = self._tokens
        try:
            self._read()
        except BadSetting as error:
            _log.error(
                "pages.not_reloaded", because=str(error), remedy="Mend the file; until then the last one counts."
            )
            return
        renewed = sorted(page for page, token in self._tokens.items() if before.get(page, token) != token)
        _log.info("pages.loaded", pages=sorted(self._tokens), renewed=renewed)

    async def keep_looking(self) -> NoReturn:
        """Look every few seconds."""
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            self.look()

    def _read(self) -> None:
        self._watched = {path: _stamp(path) for path in self._watched}  # before reading: later changes are seen later
        tables = self._settings.read_pages()
        token_files = (Path(table.token_file) for table in tables.values() if table.token_file)
        self._watched = {path: _stamp(path) for path in token_files} | {
            path: self._watched[path] for path in self._file
        }
        self._tokens, self._tables = tokens_of(tables), tables


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file, also where another one takes its place; none while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
