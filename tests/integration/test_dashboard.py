"""The dashboard as a process of its own, in front of a real Valkey with jobs that a real RQ worker has done."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

from pageline.dashboard import serve
from shared.embedded import EmbeddedValkey
from shared.errors import BadSetting

UP_WITHIN_S = 30.0
SERVE = (
    "import sys; from pageline.dashboard import serve; serve(sys.argv[1], '127.0.0.1', int(sys.argv[2]), *sys.argv[3:])"
)

StartDashboard = Callable[..., httpx.Client]


@pytest.fixture
def start_dashboard() -> Iterator[StartDashboard]:
    """Start the dashboard with a URL and maybe a password; return a client that talks to it."""
    started: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def start(redis_url: str, *password: str) -> httpx.Client:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-c", SERVE, redis_url, str(port), *password])
        started.append(process)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}")
        clients.append(client)
        deadline = time.monotonic() + UP_WITHIN_S
        while True:
            assert process.poll() is None, "the dashboard has ended"
            assert time.monotonic() < deadline, "the dashboard does not listen"
            try:
                client.get("/favicon.ico")
            except httpx.ConnectError:
                time.sleep(0.02)
            else:
                return client

    yield start
    for client in clients:
        client.close()
    for process in started:
        process.terminate()
    assert [process.wait() for process in started] == [0 for _ in started]


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def enqueue(connection: redis.Redis, function: str, description: str) -> Job:
    queue = Queue("accept", connection=connection, serializer=JSONSerializer)
    return queue.enqueue(function, 0, description=description, meta={"call": "c_1"})


def work(connection: redis.Redis) -> None:
    queue = Queue("accept", connection=connection, serializer=JSONSerializer)
    worker = SimpleWorker([queue], connection=connection, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="CRITICAL")


def pages_of(job: Job, registry: str) -> list[str]:
    return [
        "/",
        f"/0/view/jobs/accept/{registry}/8/asc/1",
        f"/0/data/jobs/accept/{registry}/8/asc/1.json",
        f"/0/view/job/{job.id}",
        f"/0/data/job/{job.id}.json",
        "/0/view/workers",
        "/0/data/workers.json",
        "/0/data/queues.json",
    ]


def test_waiting_done_and_failed_jobs_are_shown_on_pages_that_all_answer(
    redis_url: str, connection: redis.Redis, start_dashboard: StartDashboard
) -> None:
    done = enqueue(connection, "time.sleep", "accept m_done")
    failed = enqueue(connection, "time.no_such_function", "accept m_failed")
    work(connection)
    waiting = enqueue(connection, "time.sleep", "accept m_waiting")
    dashboard = start_dashboard(redis_url)

    for job, registry in ((waiting, "queued"), (done, "finished"), (failed, "failed")):
        for page in pages_of(job, registry):
            assert dashboard.get(page).status_code == 200, page
        listed = dashboard.get(f"/0/data/jobs/accept/{registry}/8/asc/1.json").json()["jobs"]
        assert [(each["id"], each["description"]) for each in listed] == [(job.id, job.description)]
    assert "no_such_function" in dashboard.get(f"/0/data/job/{failed.id}.json").json()["exc_info"]


def test_what_a_worker_is_doing_is_shown(
    redis_url: str, connection: redis.Redis, start_dashboard: StartDashboard
) -> None:
    queue = Queue("accept", connection=connection, serializer=JSONSerializer)
    queue.enqueue("time.sleep", 60, description="accept m_running")
    options = ["--url", redis_url, "--serializer", "rq.serializers.JSONSerializer", "--name", "busy one", "--quiet"]
    worker = subprocess.Popen([sys.executable, "-m", "rq.cli", "worker", "-w", "rq.SimpleWorker", *options, "accept"])
    try:
        dashboard = start_dashboard(redis_url)
        deadline = time.monotonic() + UP_WITHIN_S
        while (shown := dashboard.get("/0/data/workers.json").json()["workers"]) == [] or shown[0]["state"] != "busy":
            assert time.monotonic() < deadline, shown
            time.sleep(0.02)
    finally:
        worker.kill()
        worker.wait()
    assert shown[0]["name"] == "busy one"
    assert shown[0]["current_job"]["description"] == "accept m_running"


def test_every_file_that_the_page_asks_for_is_there_and_none_is_from_elsewhere(
    redis_url: str, start_dashboard: StartDashboard
) -> None:
    dashboard = start_dashboard(redis_url)
    page = dashboard.get("/").text
    files = [part.split('"')[0] for part in page.replace('src="', 'href="').split('href="')[1:]]
    static = [file for file in files if "/static/" in file]
    assert len(static) >= 4
    for file in static:
        assert file.startswith("/"), file
        assert dashboard.get(file).status_code == 200, file


def test_without_the_password_there_is_nothing_to_see(redis_url: str, start_dashboard: StartDashboard) -> None:
    dashboard = start_dashboard(redis_url, "pässword")
    for path in ("/", "/0/data/queues.json", "/favicon.ico", "/no/such/page"):
        assert dashboard.get(path).status_code == 401, path
        assert dashboard.get(path, auth=("pageline", "wrong")).status_code == 401, path
    assert "Basic" in dashboard.get("/").headers["WWW-Authenticate"]
    assert dashboard.get("/", auth=("anyone", "pässword")).status_code == 200


def test_it_refuses_to_be_open_to_other_machines_without_a_password(redis_url: str) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "pageline.example"):  # noqa: S104
        with pytest.raises(BadSetting, match="DASHBOARD_PASSWORD"):
            serve(redis_url, host, 0)


def test_a_foreign_host_name_that_leads_here_gets_nothing(redis_url: str, start_dashboard: StartDashboard) -> None:
    dashboard = start_dashboard(redis_url)
    assert dashboard.get("/", headers={"Host": "rebound.example"}).status_code == 400
    assert dashboard.get("/", headers={"Host": "localhost:9181"}).status_code == 200


def test_it_only_shows_and_changes_nothing(
    redis_url: str, connection: redis.Redis, start_dashboard: StartDashboard
) -> None:
    failed = enqueue(connection, "time.no_such_function", "accept m_failed")
    work(connection)
    waiting = enqueue(connection, "time.sleep", "accept m_waiting")
    dashboard = start_dashboard(redis_url)
    for path in (
        f"/job/{waiting.id}/delete",
        f"/job/{failed.id}/requeue",
        "/queue/accept/queued/empty",
        "/queue/accept/compact",
        "/requeue/accept",
    ):
        assert dashboard.post(path).status_code == 405, path
    assert dashboard.get("/requeue/accept").status_code == 405

    page = dashboard.get("/0/view/jobs/accept/queued/8/asc/1").text
    assert "empty-btn" not in page.replace("$('#empty-btn')", "")
    assert dashboard.get("/0/data/jobs/accept/queued/8/asc/1.json").json()["jobs"][0]["id"] == waiting.id
    assert dashboard.get("/0/data/jobs/accept/failed/8/asc/1.json").json()["jobs"][0]["id"] == failed.id


class Trap:
    """Something whose pickle, once loaded, leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.trace,))


def test_a_pickle_is_never_loaded(
    redis_url: str, connection: redis.Redis, start_dashboard: StartDashboard, tmp_path: Path
) -> None:
    trace = tmp_path / "loaded"
    foreign = Queue("accept", connection=connection, serializer=DefaultSerializer)
    job = foreign.enqueue("time.sleep", Trap(trace), description="of another application", meta={"trap": Trap(trace)})
    dashboard = start_dashboard(redis_url)
    for page in pages_of(job, "queued"):
        dashboard.get(page)
    assert not trace.exists()
    assert dashboard.get("/").status_code == 200


def test_a_redis_url_with_host_and_port_serves_as_well(start_dashboard: StartDashboard) -> None:
    with tempfile.TemporaryDirectory() as short, EmbeddedValkey(Path(short) / ("too long for a socket" * 5)) as valkey:
        assert valkey.url.startswith("redis://")
        with redis.Redis.from_url(valkey.url) as connection:
            enqueue(connection, "time.sleep", "accept m_1")
        page = start_dashboard(valkey.url).get("/0/data/queues.json")
        assert page.json()["queues"][0]["count"] == 1


def test_the_password_of_redis_is_not_on_the_page(redis_url: str, start_dashboard: StartDashboard) -> None:
    assert redis_url.partition("password=")[2] not in start_dashboard(redis_url).get("/").text


def test_redis_away_is_one_line_and_not_an_error_of_ours(start_dashboard: StartDashboard, tmp_path: Path) -> None:
    dashboard = start_dashboard(f"unix://{tmp_path}/nobody.sock")
    answer = dashboard.get("/0/data/queues.json")
    assert answer.status_code == 503
    assert answer.text == "Redis cannot be asked now: ConnectionError\n"
