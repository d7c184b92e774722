"""The routes below `/sim` about Meta's own side: what it got and sent, and how it shall misbehave."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.call_settings import Pages
from simulator.faults import Fault, Faults
from simulator.graph.front import Graph, Usage
from simulator.graph.messages import MessagesEdge
from simulator.postman import Postman
from simulator.settings import Settings
from simulator.tokens import Tokens
from simulator.wire import CREATED, NO_CONTENT, decode, json_response


class TokenState(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/tokens`."""

    token: str
    valid: bool


class Subscription(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/subscriptions`; an empty list is what Meta makes of it after an hour of failures."""

    page: str | None = None
    fields: list[str] = []


class Levers:
    """Serves the routes."""

    def __init__(
        self,
        settings: Settings,
        *,
        graph: Graph,
        faults: Faults,
        postman: Postman,
        messages: MessagesEdge,
        tokens: Tokens,
        pages: Pages,
    ) -> None:
        self._settings = settings
        self._graph = graph
        self._faults = faults
        self._postman = postman
        self._messages = messages
        self._tokens = tokens
        self._pages = pages

    def routes(self) -> list[Route]:
        """Returns every route."""
        return [
            Route("/sim/graph", self.list_graph, methods=["GET"]),
            Route("/sim/webhooks", self.list_webhooks, methods=["GET"]),
            Route("/sim/messages", self.list_messages, methods=["GET"]),
            Route("/sim/faults", self.list_faults, methods=["GET"]),
            Route("/sim/faults", self.plan_fault, methods=["POST"]),
            Route("/sim/faults", self.clear_faults, methods=["DELETE"]),
            Route("/sim/tokens", self.set_token, methods=["POST"]),
            Route("/sim/usage", self.set_usage, methods=["POST"]),
            Route("/sim/usage", self.clear_usage, methods=["DELETE"]),
            Route("/sim/subscriptions", self.subscribe, methods=["POST"]),
        ]

    async def list_graph(self, request: Request) -> Response:
        """Lists every request Graph got."""
        return json_response(self._graph.requests)

    async def list_webhooks(self, request: Request) -> Response:
        """Lists every webhook and its attempts."""
        return json_response([delivery.view() for delivery in self._postman.deliveries])

    async def list_messages(self, request: Request) -> Response:
        """Lists every message that people got."""
        return json_response(self._messages.sent)

    async def list_faults(self, request: Request) -> Response:
        """Lists the faults still planned."""
        return json_response(self._faults.planned)

    async def plan_fault(self, request: Request) -> Response:
        """Plans a fault."""
        fault = await decode(request, Fault)
        self._faults.planned.append(fault)
        return json_response(fault, CREATED)

    async def clear_faults(self, request: Request) -> Response:
        """Forgets every planned fault."""
        self._faults.planned.clear()
        return Response(status_code=NO_CONTENT)

    async def set_token(self, request: Request) -> Response:
        """Lets a token be good from now on, or expired."""
        state = await decode(request, TokenState)
        self._tokens.set(state.token, valid=state.valid)
        return Response(status_code=NO_CONTENT)

    async def set_usage(self, request: Request) -> Response:
        """Lets every response say how much of the rate limits is used."""
        self._graph.usage = await decode(request, Usage)
        return json_response(self._graph.usage, CREATED)

    async def clear_usage(self, request: Request) -> Response:
        """Lets responses say nothing of it again."""
        self._graph.usage = None
        return Response(status_code=NO_CONTENT)

    async def subscribe(self, request: Request) -> Response:
        """Replaces a Page's subscribed fields without being asked by the business."""
        new = await decode(request, Subscription)
        self._pages.subscribe(new.page or self._settings.page, set(new.fields))
        return Response(status_code=NO_CONTENT)
