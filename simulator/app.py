"""The simulator as one web application: Graph for the business, `/sim` for tests, a page for people."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.call_settings import Pages
from simulator.chaos import Chaos
from simulator.control import Control
from simulator.faults import Faults
from simulator.graph.calls import CallsEdge
from simulator.graph.errors import envelope
from simulator.graph.front import Graph
from simulator.graph.messages import MessagesEdge
from simulator.graph.metrics import MetricsEdge
from simulator.graph.page import PageEdges
from simulator.graph.permissions import PermissionsEdge
from simulator.levers import Levers
from simulator.outbound import Outbound
from simulator.page import Page
from simulator.people import People
from simulator.permissions import Permissions
from simulator.postman import Postman
from simulator.settings import Settings
from simulator.switchboard import Switchboard
from simulator.tokens import Tokens
from simulator.updates import Updates
from simulator.wire import json_response


class Simulator:
    """Puts the parts together."""

    def __init__(self, settings: Settings) -> None:
        faults, people, pages, tokens = Faults(), People(settings), Pages(settings), Tokens(settings)
        chaos = Chaos(settings.chaos, settings.seed)
        self._postman = postman = Postman(settings, pages, chaos)
        permissions = Permissions(settings)
        self._switchboard = switchboard = Switchboard(settings, postman, permissions, pages)
        outbound = Outbound(settings, switchboard, postman, people, permissions)
        updates = Updates(settings, switchboard)
        messages = MessagesEdge(settings, outbound, pages, people)
        page = PageEdges(settings, pages, postman, tokens)
        self._graph = Graph(
            settings,
            faults,
            chaos,
            tokens,
            {
                ("GET", ""): page.get_node,
                ("GET", "debug_token"): page.debug_token,
                ("GET", "messenger_call_settings"): page.get_settings,
                ("POST", "messenger_call_settings"): page.post_settings,
                ("POST", "business_messaging_feature_status"): page.feature_status,
                ("GET", "subscribed_apps"): page.get_subscriptions,
                ("POST", "subscribed_apps"): page.subscribe,
                ("DELETE", "subscribed_apps"): page.unsubscribe,
                ("GET", "messenger_call_permissions"): PermissionsEdge(permissions, pages).get,
                ("POST", "messages"): messages.post,
                ("POST", "calls"): CallsEdge(settings, switchboard, outbound, updates, pages).post,
                ("POST", "call_metrics"): MetricsEdge(settings, switchboard).post,
            },
        )
        control = Control(
            settings,
            switchboard=switchboard,
            updates=updates,
            people=people,
            permissions=permissions,
            chaos=chaos,
        )
        levers = Levers(
            settings,
            graph=self._graph,
            faults=faults,
            postman=postman,
            messages=messages,
            tokens=tokens,
            pages=pages,
        )
        self._sim = [*Page(settings, switchboard).routes(), *control.routes(), *levers.routes()]

    def routes(self) -> list[Route]:
        """Returns every route; whatever else is asked for gets Graph's 404."""
        methods = ["GET", "POST", "DELETE"]
        return [
            *self._sim,
            Route("/{version}/{page}/{edge}", self._graph.take, methods=methods),
            Route("/{version}/{page}", self._graph.take, methods=methods),
        ]

    async def close(self) -> None:
        """Hangs up every call and ends every stream; a second time does nothing."""
        await self._switchboard.close()
        await self._postman.close()


def create_app(settings: Settings) -> Starlette:
    """Makes the application; `app.state.simulator` holds its parts."""
    simulator = Simulator(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await simulator.close()

    app = Starlette(routes=simulator.routes(), lifespan=lifespan, exception_handlers={HTTPException: _say_why})
    app.state.simulator = simulator
    return app


async def _say_why(request: Request, error: Exception) -> Response:
    """Answers an error: in words below /sim, in Graph's envelope everywhere else."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if request.url.path.startswith("/sim/"):
        return json_response({"error": error.detail}, error.status_code)
    return json_response(envelope(2500, "Unknown path components"), error.status_code)
