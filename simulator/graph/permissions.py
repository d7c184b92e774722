"""The edge `messenger_call_permissions` (reference, section 5.1)."""

from typing import Any

from simulator.call_settings import Pages
from simulator.calls import Refused
from simulator.graph.asked import Asked
from simulator.graph.calls import check_calling
from simulator.permissions import Permissions


class PermissionsEdge:
    """Tells whether a person may be called."""

    def __init__(self, permissions: Permissions, pages: Pages) -> None:
        self._pages = pages
        self._permissions = permissions

    async def get(self, asked: Asked) -> dict[str, Any]:
        """Tells it for the person in `psid`; raises `Refused`."""
        check_calling(self._pages, asked.page)
        psid = asked.params.get("psid")
        if not psid:
            raise Refused(100, "Invalid parameter: psid is required")
        return self._permissions.body(asked.page, psid)
