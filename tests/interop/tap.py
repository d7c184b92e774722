"""Stands between our leg and a bot, passes every message on as it came, and writes down the conversation."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

PASSED_ON: Final = ("x-twilio-signature",)


class Tap:
    """One conversation; `bot_port` may be listened on later."""

    def __init__(self, bot_port: int) -> None:
        self.url = ""
        self.written: list[dict[str, Any]] = []
        """Each `ms` since it began, `from` (`line` or `bot`) and `message`; of sound its length, in `payload_bytes`."""
        self._bot_port = bot_port
        self._began_s = 0.0

    @contextmanager
    def listening(self) -> Iterator["Tap"]:
        """Serve on a free port."""
        with serve(self._pass, "127.0.0.1", 0, compression=None) as server:
            self.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/bot"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield self
            finally:
                server.shutdown()

    def events(self, of: str) -> list[str]:
        """Return the events of one side, but for its sound; of a mark its name."""
        messages = (entry["message"] for entry in self.written if entry["from"] == of)
        return [
            message["mark"]["name"] if message["event"] == "mark" else message["event"]
            for message in messages
            if message["event"] != "media"
        ]

    def keep(self, path: Path) -> None:
        """Write the conversation as JSON lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in self.written))

    def _pass(self, line: ServerConnection) -> None:
        assert line.request is not None
        self._began_s = time.monotonic()
        headers = {name: line.request.headers[name] for name in PASSED_ON if name in line.request.headers}
        wire = socket.create_connection(("127.0.0.1", self._bot_port))
        with connect(self.url, sock=wire, additional_headers=headers, compression=None, proxy=None) as bot:
            assert urlsplit(self.url).path == line.request.path
            back = threading.Thread(target=self._copy, args=("bot", bot, line), daemon=True)
            back.start()
            self._copy("line", line, bot)
            back.join(5)

    def _copy(self, name: str, source: ServerConnection | ClientConnection, target: Any) -> None:
        with suppress(ConnectionClosed):
            for received in source:
                self._write_down(name, json.loads(received))
                target.send(received)
        target.close()

    def _write_down(self, name: str, message: dict[str, Any]) -> None:
        if message["event"] == "media":
            media = dict(message["media"])
            media["payload_bytes"] = len(base64.b64decode(media.pop("payload"), validate=True))
            message = {**message, "media": media}
        now_ms = round((time.monotonic() - self._began_s) * 1000)
        self.written.append({"ms": now_ms, "from": name, "message": message})
