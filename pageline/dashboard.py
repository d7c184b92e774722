"""Shows the RQ queues, jobs and workers in a browser: rq-dashboard, read-only, in a process of its own.

What is changed about it, and why:

- It reads jobs as JSON and unpickles nothing; RQ falls back to pickle wherever rq-dashboard names no serializer.
- It only shows. What failed is a dead letter, and `pageline dead retry` knows what another try of it may do: an RQ job
  put back by a button would run with an epoch and a deadline that are over.
- It uses one connection, ours. Its own way is a new one per request, and prints URLs, a password in the query included.
- Without a password it is for this machine alone and answers to no foreign host name (DNS rebinding).
"""

import hmac
import signal
import sys
from typing import cast

import redis
import rq.serializers
import rq_dashboard.web
import uvicorn
from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi_typing import WSGIApp
from flask import Blueprint, Flask, Response, request
from rq.exceptions import NoSuchJobError

from shared import redis_client
from shared.errors import BadSetting

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
LOOPBACK_IN_A_URL = ["localhost", "127.0.0.1", "[::1]"]
ASK_FOR_PASSWORD = {"WWW-Authenticate": 'Basic realm="pageline dashboard", charset="UTF-8"'}
ONLY_SHOWS = "This dashboard only shows. `pageline dead list|show|retry|drop` handles what failed.\n"
HIDE_BUTTONS = b"""
<style>
#compact-btn, #requeue-all-btn, #requeue-job-btn, [data-role=requeue-job-btn] { display: none !important }
</style>
"""


def serve(redis_url: str, host: str, port: int, password: str | None = None) -> None:
    """Serve the dashboard until SIGINT or SIGTERM; with a password, any user name goes with it.

    Raises:
        BadSetting: there is no password and `host` can be reached from other machines.
    """
    if not password and host not in LOOPBACK:
        raise BadSetting(
            f"DASHBOARD_PASSWORD is not set and HOST={host} is open to other machines. Set DASHBOARD_PASSWORD to a "
            "secret of your choice, or HOST=127.0.0.1, or DASHBOARD_PORT=0 to do without the dashboard."
        )
    board = Board(redis_client.connect(redis_url), password)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once all is closed
    uvicorn.run(
        WSGIMiddleware(cast("WSGIApp", board), workers=4),
        host=host,
        port=port,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )


class Board(Flask):
    """The dashboard as a WSGI application."""

    def __init__(self, connection: redis.Redis, password: str | None) -> None:
        super().__init__("rq_dashboard")
        self.redis_conn = connection  # where rq-dashboard looks for it
        self._password = password
        self.config["RQ_DASHBOARD_REDIS_URL"] = ["redis"]  # only shown, as the name of the instance
        self.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
        self.config["TRUSTED_HOSTS"] = None if password else LOOPBACK_IN_A_URL
        self.before_request(self._guard)
        self.after_request(hide_buttons)
        self.register_error_handler(redis.RedisError, say_redis_is_away)
        self.register_error_handler(NoSuchJobError, say_job_is_gone)
        self.register_blueprint(read_only_json_blueprint())

    def _guard(self) -> Response | None:
        if self._password and not is_given(self._password):
            return Response("The password is DASHBOARD_PASSWORD; any user name will do.\n", 401, ASK_FOR_PASSWORD)
        if request.method not in {"GET", "HEAD"} or request.endpoint == "rq_dashboard.requeue_all":
            return Response(ONLY_SHOWS, 405, {"Allow": "GET, HEAD"})
        return None


def read_only_json_blueprint() -> Blueprint:
    """Return rq-dashboard's pages, set to read JSON and to use the connection they are given."""
    # The name that RQ falls back to. A pickle is code: jobs of other applications are to look unreadable, not to run.
    vars(rq.serializers)["PickleSerializer"] = rq.serializers.JSONSerializer
    rq_dashboard.web.config.serializer = rq.serializers.JSONSerializer
    blueprint: Blueprint = rq_dashboard.web.blueprint
    blueprint.before_request_funcs.clear()  # there is one, which makes a connection per request
    return blueprint


def hide_buttons(response: Response) -> Response:
    """Hide what would only answer 405."""
    if response.mimetype == "text/html" and not response.direct_passthrough:
        response.data = response.data + HIDE_BUTTONS
    return response


def say_redis_is_away(error: redis.RedisError) -> Response:
    """Answer in one line where Flask would log a traceback at each refresh of the page."""
    return Response(f"Redis cannot be asked now: {type(error).__name__}\n", 503, mimetype="text/plain")


def say_job_is_gone(_: NoSuchJobError) -> Response:
    """Answer for a job that has expired since the list was shown."""
    return Response("There is no such job (any more).\n", 404, mimetype="text/plain")


def is_given(password: str) -> bool:
    """Tell whether the request brings this password, in a time that says nothing about it."""
    given = request.authorization.password if request.authorization is not None else None
    return hmac.compare_digest((given or "").encode(), password.encode())
