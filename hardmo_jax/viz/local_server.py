"""A viser server that only this machine's own pages reach.

Viser answers whoever connects: any page that is open in the browser could reach a server on this machine, drive it, and
have it shared through a tunnel of viser's makers. Here a request must name this machine (`Host`, against names that are
bound to its address), a page must be the server's own (`Origin`), and there is no tunnel. That it is so is tried before
anybody is told the address.
"""

import contextlib
import http
import http.client
import io
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

from hardmo_jax.missing_packages import MissingPackageError

LOOPBACK = "127.0.0.1"
_OWN_NAMES = (LOOPBACK, "localhost", "::1")
#: The server's start is a function of a package that other servers of this process use too.
_STARTING = threading.Lock()


class LocalServerError(RuntimeError):
    """The server cannot be kept to this machine."""


def local_server(port: int, *, label: str) -> Any:
    """Start a server on this machine; the next free port is taken if this one is not.

    Args:
        port: Of 127.0.0.1.
        label: Of its panel.

    Returns:
        A `viser.ViserServer`.

    Raises:
        MissingPackageError: If viser is not installed.
        LocalServerError: If it answers pages of others, as a newer viser might.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingPackageError(
            "the viewer needs viser: pip install 'hardmo_jax[viz]'; `tools.report` writes a page without it"
        ) from error

    class LocalServer(viser.ViserServer):
        """Without a tunnel, whoever asks for it."""

        def request_share_url(self, verbose: bool = True) -> str | None:
            del verbose
            return None

    # It prints a box of its own, with an address before the server has been tried.
    with _STARTING, _checked_start(), contextlib.redirect_stdout(io.StringIO()):
        server = LocalServer(host=LOOPBACK, port=port, label=label, verbose=False)
    for headers in (
        {"Host": "example.org"},
        {"Host": f"{LOOPBACK}:{server.get_port()}", "Origin": "http://example.org"},
    ):
        if _status(server.get_port(), headers) != http.HTTPStatus.FORBIDDEN:
            server.stop()
            raise LocalServerError(
                "this version of viser answers pages of others, so that the viewer is not started; install viser 1.1, "
                "and tell us"
            )
    return server


def is_own_request(host: str | None, origin: str | None) -> bool:
    """Whether a request names this machine, and comes from a page of the server itself or from no page.

    Args:
        host: Its `Host` header.
        origin: Its `Origin` header; None of requests that no page made.
    """
    if not host or _name(host) not in _OWN_NAMES:
        return False
    if origin is None:
        return True
    scheme, _, place = origin.partition("://")
    return scheme in ("http", "https") and place == host


def _name(host: str) -> str | None:
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


@contextlib.contextmanager
def _checked_start() -> Iterator[None]:
    """While it lasts, servers of `websockets` that are started check who asks."""
    import websockets.asyncio.server as websocket_server
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    start = websocket_server.serve

    def checked(*arguments: Any, process_request: Any = None, **options: Any) -> Any:
        def process(connection: Any, request: Any) -> Any:
            values = [request.headers.get_all(name) for name in ("Host", "Origin")]
            is_told_once = all(len(found) <= 1 for found in values)
            host, origin = (found[0] if found else None for found in values)
            if not is_told_once or not is_own_request(host, origin):
                return Response(http.HTTPStatus.FORBIDDEN, "FORBIDDEN", Headers({"Content-Length": "0"}), b"")
            return None if process_request is None else process_request(connection, request)

        return start(*arguments, process_request=process, **options)

    websocket_server.serve = checked  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        websocket_server.serve = start


def _status(port: int, headers: dict[str, str]) -> int:
    """How a request is answered."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.putrequest("GET", "/", skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
