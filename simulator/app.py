"""The simulator as one web application: Graph for the business, `/sim` for tests, a page for people."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.control import Control
from simulator.faults import Faults
from simulator.graph.calls import CallsEdge
from simulator.graph.errors import envelope
from simulator.graph.front import Graph
from simulator.graph.messages import MessagesEdge
from simulator.graph.permissions import PermissionsEdge
from simulator.outbound import Outbound
from simulator.page import Page
from simulator.people import People
from simulator.permissions import Permissions
from simulator.postman import Postman
from simulator.settings import Settings
from simulator.switchboard import Switchboard
from simulator.updates import Updates
from simulator.wire import json_response


class Simulator:
    """Puts the parts together."""

    def __init__(self, settings: Settings) -> None:
        faults, people = Faults(), People(settings)
        self._postman = Postman(settings)
        permissions = Permissions(settings)
        self._switchboard = Switchboard(settings, self._postman, permissions)
        outbound = Outbound(settings, self._switchboard, self._postman, people, permissions)
        updates = Updates(settings, self._switchboard)
        self._graph = Graph(
            settings,
            faults,
            {
                ("POST", "calls"): CallsEdge(settings, self._switchboard, outbound, updates).post,
                ("POST", "messages"): MessagesEdge(settings, outbound).post,
                ("GET", "messenger_call_permissions"): PermissionsEdge(permissions).get,
            },
        )
        self._page = Page(settings, self._switchboard)
        self._control = Control(
            settings,
            switchboard=self._switchboard,
            updates=updates,
            people=people,
            permissions=permissions,
            postman=self._postman,
            graph=self._graph,
            faults=faults,
        )

    def routes(self) -> list[Route]:
        """Returns every route; whatever else is asked for gets Graph's 404."""
        graph = Route("/{version}/{page}/{edge}", self._graph.take, methods=["GET", "POST", "DELETE"])
        return [*self._page.routes(), *self._control.routes(), graph]

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
