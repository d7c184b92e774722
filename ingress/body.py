"""The body of a request, which is read no further than is wanted of it."""

from starlette.requests import Request


class TooLarge(Exception):
    """There is more body than any request of its kind needs."""


async def read(request: Request, most_bytes: int) -> bytes:
    """Return the body.

    Raises:
        TooLarge: it has more bytes than that.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise TooLarge
    return bytes(body)
