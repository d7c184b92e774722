"""A small stand-in for Graph's Page edges: it keeps call settings and subscriptions, and refuses what Meta would."""

import json
import time
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.integration.graph_server import Reply, Request, Server, error

VERSION: Final = "v23.0"
APP: Final = "4242"
SECRET: Final = "s3cret"
UNKNOWN_PATH: Final = Reply(404, b'{"detail":"Not Found"}')
NEEDS_CALLS: Final = error(100, message="ring_target PARTNERS requires the app to be subscribed to calls")


class PageServer(Server):
    """Pages by id; each is what `page` makes of it.

    An edge in `unknown` is answered 404; one in `wrong`, with that, and in `refuses`, where something is posted to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, dict[str, Any]] = {}
        self.unknown: set[str] = set()
        self.wrong: dict[str, Reply] = {}
        self.refuses: dict[str, Reply] = {}
        self.wrapped = False
        self.feature = "enabled"
        self.token: dict[str, Any] = {
            "app_id": APP,
            "is_valid": True,
            "expires_at": 0,
            "scopes": ["pages_messaging", "pages_manage_metadata", "pages_show_list"],
        }
        self.callback: dict[str, Any] | None = {
            "object": "page",
            "callback_url": "https://line.example/webhook",
            "fields": [{"name": name, "version": VERSION} for name in ("calls", "call_permission_reply", "messages")]
            + [{"name": "call_settings_update", "version": VERSION}],
            "active": True,
        }
        self.ahead_s = 0.0

    def page(self, page: str, *, fields: list[str] | None = None, **settings: Any) -> dict[str, Any]:
        """Have a Page; `fields` are those the app is subscribed to, none means that it is not installed."""
        self.pages[page] = {"fields": fields, "settings": settings}
        return self.pages[page]

    def posted(self, edge: str) -> list[Any]:
        """Return what was posted to an edge of any Page."""
        return [
            _without_proof(json.loads(request.body)) if request.body else _query(request.path)
            for request in self.requests
            if request.method == "POST" and urlsplit(request.path).path.endswith(f"/{edge}")
        ]

    def reply_to(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        _, version, subject, *edge = url.path.split("/")
        assert version == VERSION
        name = edge[0] if edge else ("page" if subject in self.pages else subject)
        if name in self.unknown:
            reply = UNKNOWN_PATH
        elif "wrong" in self.pages.get(subject, {}):
            reply = self.pages[subject]["wrong"]
        elif name in self.wrong:
            reply = self.wrong[name]
        elif name in self.refuses and request.method == "POST":
            reply = self.refuses[name]
        else:
            reply = self._do(request, subject, name, _query(request.path))
        return reply._replace(headers=(*reply.headers, f"Date: {_date(self.ahead_s)}"))

    def _do(self, request: Request, subject: str, name: str, query: dict[str, str]) -> Reply:
        page, said = self.pages.get(subject, {}), _without_proof(json.loads(request.body)) if request.body else {}
        match request.method, name:
            case "GET", "page":
                return _json({"id": subject})
            case "GET", "debug_token":
                assert request.headers["authorization"] == f"Bearer {APP}|{SECRET}"
                return _json({"data": self.token})
            case "GET", "subscriptions":
                assert subject == APP
                return _json({"data": [self.callback] if self.callback else []})
            case "POST", "business_messaging_feature_status":
                (asked,) = said["features"]
                return _json({"data": [{**asked, "status": self.feature}]})
            case "GET", "subscribed_apps":
                fields = page["fields"]
                return _json({"data": [] if fields is None else [{"id": APP, "subscribed_fields": fields}]})
            case "POST", "subscribed_apps":
                page["fields"] = query["subscribed_fields"].split(",")
                return _json({"success": "true"})
            case "GET", "messenger_call_settings":
                asked_for = query["fields"].split(",")
                known = {key: value for key, value in page["settings"].items() if key in asked_for}
                return _json({"data": [known]} if self.wrapped else known)
            case "POST", "messenger_call_settings":
                ours = "calls" in (page["fields"] or ())
                if said.get("call_routing", {}).get("ring_target") == "PARTNERS" and not ours:
                    return NEEDS_CALLS
                page["settings"] |= said
                return _json({"result": "success"} if "icon_enabled" in said else {"success": True})
        return UNKNOWN_PATH


def _query(path: str) -> dict[str, str]:
    return _without_proof({key: value[0] for key, value in parse_qs(urlsplit(path).query).items()})


def _without_proof(said: dict[str, Any]) -> dict[str, Any]:
    """Return what is said beside the proof that it is the app who says it."""
    return {key: value for key, value in said.items() if key != "appsecret_proof"}


def _json(value: Any) -> Reply:
    return Reply(200, json.dumps(value).encode())


def _date(ahead_s: float) -> str:
    return formatdate(time.time() + ahead_s, usegmt=True)
