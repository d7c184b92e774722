"""A Page's own edges: its name, call settings, feature, subscriptions, and what is known of a token."""

from typing import Any, Literal

from simulator import hooks
from simulator.call_settings import FEATURE, FIELDS, WEBHOOK_FIELDS, Change, Invalid, Pages
from simulator.calls import Refused
from simulator.graph.asked import Asked, Body
from simulator.postman import Postman
from simulator.settings import Settings
from simulator.tokens import APP_ID, Tokens

NAME = "Simulated Page"


class Feature(Body):
    """One feature asked about."""

    feature: Literal["messenger_api_calling"]


class Features(Body):
    """The body of `POST /{page}/business_messaging_feature_status` (section 2)."""

    features: list[Feature]


class Subscribe(Body):
    """The body of `POST /{page}/subscribed_apps`, if the fields are not in the query (section 1.7)."""

    subscribed_fields: list[str] | str = ""


class PageEdges:
    """Answers them."""

    def __init__(self, settings: Settings, pages: Pages, postman: Postman, tokens: Tokens) -> None:
        self._settings = settings
        self._pages = pages
        self._postman = postman
        self._tokens = tokens

    async def get_node(self, asked: Asked) -> dict[str, Any]:
        """Tells a Page's id and name."""
        return _pick(asked, {"id": asked.page, "name": NAME}, always=("id",))

    async def debug_token(self, asked: Asked) -> dict[str, Any]:
        """Tells what a token is good for."""
        token = asked.params.get("input_token")
        if not token:
            raise Refused(100, "The parameter input_token is required")
        return {"data": self._tokens.describe(token, self._settings.page)}

    async def get_settings(self, asked: Asked) -> dict[str, Any]:
        """Tells a Page's call settings, in one of two documented shapes (section 7.1)."""
        told = _pick(asked, self._pages.settings(asked.page), known=FIELDS)
        return told if self._settings.settings_shape == "guide" else {"data": [told]}

    async def post_settings(self, asked: Asked) -> dict[str, Any]:
        """Changes a Page's call settings and tells the business so (section 7.6)."""
        change = asked.body(Change)
        if change == Change():
            raise Refused(100, "Invalid parameter: there is nothing to change")
        try:
            self._pages.change(asked.page, change)
        except Invalid as error:
            raise Refused(100, f"Invalid parameter: {error}") from error
        entry = hooks.settings_update(asked.page, self._pages.settings(asked.page))
        self._postman.send(asked.page, entry, event="call_settings_update")
        by_guide = self._settings.settings_shape == "guide"
        return {"success": True} if by_guide and change.icon_enabled is None else {"result": "success"}

    async def feature_status(self, asked: Asked) -> dict[str, Any]:
        """Tells whether the Page may have calls."""
        asked.body(Features)
        return {"data": [{"feature": FEATURE, "status": self._settings.feature_status}]}

    async def get_subscriptions(self, asked: Asked) -> dict[str, Any]:
        """Lists the app with its fields, if it has any."""
        fields = sorted(self._pages.subscribed(asked.page))
        app = {"id": APP_ID, "name": "simulator", "link": "https://example.com/", "subscribed_fields": fields}
        return {"data": [app] if fields else []}

    async def subscribe(self, asked: Asked) -> dict[str, Any]:
        """Replaces the app's fields."""
        given: list[str] | str = asked.params.get("subscribed_fields", "")
        if not given and asked.raw:
            given = asked.body(Subscribe).subscribed_fields
        fields = {field for field in (given.split(",") if isinstance(given, str) else given) if field}
        if not fields:
            raise Refused(100, "The parameter subscribed_fields is required.")
        if unknown := fields - set(WEBHOOK_FIELDS):
            known = ", ".join(WEBHOOK_FIELDS)
            raise Refused(100, f"Param subscribed_fields has {min(unknown)!r}, which is none of {known}")
        self._pages.subscribe(asked.page, fields)
        return self._success()

    async def unsubscribe(self, asked: Asked) -> dict[str, Any]:
        """Takes the app off the Page."""
        self._pages.subscribe(asked.page, set())
        return self._success()

    def _success(self) -> dict[str, Any]:
        return {"success": "true" if self._settings.success_as_string else True}


def _pick(
    asked: Asked, told: dict[str, Any], *, known: tuple[str, ...] = (), always: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Leaves what the parameter `fields` asks for, or all; a field that does not exist fails the whole request."""
    wanted = [field for field in asked.params.get("fields", "").split(",") if field]
    for field in wanted:
        if field not in (known or told):
            raise Refused(100, f"Tried accessing nonexisting field ({field})")
    return {field: value for field, value in told.items() if not wanted or field in (*wanted, *always)}
