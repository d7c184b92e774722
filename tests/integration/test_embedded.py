"""The embedded Valkey with real processes: who starts it, who joins it, and what is left when somebody is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from shared.embedded import EmbeddedValkey, find_server
from shared.errors import NoValkey

GONE_WITHIN_S = 10.0

OWNER = """
import sys
from pathlib import Path
from shared.embedded import EmbeddedValkey

with EmbeddedValkey(Path(sys.argv[1])) as valkey:
    print("owned" if valkey.owned else "joined", valkey.url, flush=True)
    sys.stdin.read()  # until the test lets go
"""


class Owner:
    """Another pageline process that has the embedded Valkey open."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.how, self.url = self.process.stdout.readline().split()

    def leave(self) -> None:
        self.process.communicate("")
        assert self.process.returncode == 0


@pytest.fixture
def start_owner() -> Iterator[type[Owner]]:
    started: list[Owner] = []

    class Started(Owner):
        def __init__(self, data_dir: Path) -> None:
            super().__init__(data_dir)
            started.append(self)

    yield Started
    for owner in started:
        owner.process.kill()
        owner.process.communicate()


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "valkey" / "valkey.pid").read_text().split()[0])


def await_end(pid: int) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while Path(f"/proc/{pid}").exists() and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def value_of(url: str, key: str) -> object:
    with redis.Redis.from_url(url) as client:
        return client.get(key)


def set_value(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


def test_what_was_written_is_there_after_stop_and_start(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        assert valkey.owned
        first_pid = server_pid(tmp_path)
        set_value(valkey.url, "greeting", "hello")
    assert not Path(f"/proc/{first_pid}").exists()

    with EmbeddedValkey(tmp_path) as valkey:
        assert value_of(valkey.url, "greeting") == b"hello"


def test_whoever_knows_the_folder_finds_the_server_that_runs_there(tmp_path: Path) -> None:
    assert EmbeddedValkey(tmp_path).find() is None
    with EmbeddedValkey(tmp_path) as valkey:
        set_value(valkey.url, "greeting", "hello")
        found = EmbeddedValkey(tmp_path).find()
        assert found is not None
        assert value_of(found, "greeting") == b"hello"
    assert EmbeddedValkey(tmp_path).find() is None


def test_a_server_that_died_is_started_again_at_the_same_address_on_its_data(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        before, pid = valkey.url, server_pid(tmp_path)
        set_value(before, "greeting", "hello")
        assert not valkey.revive()
        os.kill(pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 10
        while not valkey.revive():
            assert time.monotonic() < deadline_s
        while valkey.find() is None:
            assert time.monotonic() < deadline_s
        assert valkey.url == before
        assert value_of(before, "greeting") == b"hello"


def test_nobody_gets_in_without_the_password_and_nobody_else_reads_it(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        url, _, password = valkey.url.partition("?password=")
        with redis.Redis.from_url(url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert (tmp_path / "valkey" / "password").read_text().strip() == password
        assert (tmp_path / "valkey").stat().st_mode & 0o777 == 0o700
        for name in ("password", "valkey.conf", "valkey.pid", "owner.pid"):
            assert (tmp_path / "valkey" / name).stat().st_mode & 0o077 == 0, name
        assert password not in Path(f"/proc/{server_pid(tmp_path)}/cmdline").read_text()


def test_it_is_set_up_as_a_store_that_forgets_nothing(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path, appendfsync="always") as valkey, redis.Redis.from_url(valkey.url) as client:
        settings: dict[str, str] = client.config_get("appendonly", "appendfsync", "save", "maxmemory-policy")
    assert settings == {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("a folder with spaces", "unix"), ('per%cent "quoted" & odd?#', "unix"), ("långt" + "x" * 100, "redis")],
)
def test_any_path_will_do(name: str, scheme: str) -> None:
    with tempfile.TemporaryDirectory() as short:
        data_dir = Path(short) / name
        with EmbeddedValkey(data_dir) as valkey:
            set_value(valkey.url, "here", name)
            assert valkey.url.partition(":")[0] == scheme

        with EmbeddedValkey(data_dir) as valkey:
            assert value_of(valkey.url, "here") == name.encode()


def test_a_killed_owner_takes_the_server_along_and_leaves_the_data(tmp_path: Path, start_owner: type[Owner]) -> None:
    owner = start_owner(tmp_path)
    pid = server_pid(tmp_path)
    set_value(owner.url, "last", "word")

    owner.process.send_signal(signal.SIGKILL)

    await_end(pid)
    with EmbeddedValkey(tmp_path) as valkey:
        assert valkey.owned
        assert value_of(valkey.url, "last") == b"word"


def test_a_start_right_after_the_owner_was_killed_waits_for_the_old_server_to_end(
    tmp_path: Path, start_owner: type[Owner]
) -> None:
    owner = start_owner(tmp_path)
    old_pid = server_pid(tmp_path)
    owner.process.kill()
    owner.process.wait()  # the server, told to end, goes on answering for up to a tenth of a second

    with EmbeddedValkey(tmp_path) as valkey:
        assert valkey.owned
        assert server_pid(tmp_path) != old_pid
        await_end(old_pid)
        with redis.Redis.from_url(valkey.url) as client:
            assert client.ping()


def test_a_second_process_joins_the_running_server_and_does_not_stop_it(
    tmp_path: Path, start_owner: type[Owner]
) -> None:
    first = start_owner(tmp_path)
    second = start_owner(tmp_path)
    assert (first.how, second.how) == ("owned", "joined")
    assert second.url == first.url

    second.leave()

    set_value(first.url, "still", "here")
    pid = server_pid(tmp_path)
    first.leave()
    assert not Path(f"/proc/{pid}").exists()


def test_two_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        said = [process.stdout.readline().split() for process in starting if process.stdout is not None]
    finally:
        for process in starting:
            process.communicate("")
    assert sorted(how for how, _ in said) == ["joined", "joined", "owned"]
    assert len({url for _, url in said}) == 1


def test_pid_files_left_by_a_crash_are_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / "valkey"
    home.mkdir()
    (home / "valkey.pid").write_text(f"{os.getpid()} 0\n")  # alive, and not a Valkey
    (home / "owner.pid").write_text("1\n")

    with EmbeddedValkey(tmp_path) as valkey:
        assert valkey.owned


def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(NoValkey, match=r"file/valkey cannot hold .* Set DATA_DIR"):
        EmbeddedValkey(tmp_path / "file").start()


def test_a_server_that_will_not_start_shows_its_own_words(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        set_value(valkey.url, "a", "b")
    for part in (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof"):
        part.write_bytes(b"this is no append-only file\n" + part.read_bytes())

    broken = EmbeddedValkey(tmp_path)
    with pytest.raises(NoValkey, match=r"ended with status 1.*REDIS_URL[\s\S]*Bad file format reading the append only"):
        broken.start()
    assert not broken.owned
    await_end(server_pid(tmp_path))


def test_it_is_not_started_from_a_thread_whose_end_would_end_it(tmp_path: Path) -> None:
    raised: list[NoValkey] = []

    def start() -> None:
        try:
            EmbeddedValkey(tmp_path).start()
        except NoValkey as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_without_the_wheel_and_without_a_server_on_the_path_the_remedy_is_named(tmp_path: Path) -> None:
    probe = "from shared.embedded import find_server; print(find_server())"
    root = Path(__file__).parents[2]

    def find(path: Path) -> subprocess.CompletedProcess[str]:
        # -S leaves site-packages out, and with it the wheel; redis itself is still wanted
        site = Path(redis.__file__).parents[1]
        without_wheel = f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path / 'site')!r}]; {probe}"
        (tmp_path / "site").mkdir(exist_ok=True)
        for package in ("redis", "hiredis"):
            link = tmp_path / "site" / package
            if not link.exists():
                link.symlink_to(site / package)
        return subprocess.run(
            [sys.executable, "-S", "-c", without_wheel],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )

    nothing = find(tmp_path)
    assert nothing.returncode == 1
    assert "Install Valkey (>= 7.2) or Redis (>= 6.2), or set REDIS_URL" in nothing.stderr

    on_path = tmp_path / "redis-server"
    on_path.symlink_to(find_server())
    assert find(tmp_path).stdout.strip() == str(on_path)
