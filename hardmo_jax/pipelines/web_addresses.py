"""Which addresses may be asked: http and https only, and nothing on this machine or its network unless that is allowed.

A name is looked up once and the connection goes to the address that was checked, so that a name server cannot send it
elsewhere afterwards.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import urllib.parse

_SCHEMES = {"http": 80, "https": 443}
_MOST_LETTERS = 8192
#: IPv4 addresses inside of IPv6 ones (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: The same as each network likes it (RFC 8215): which IPv4 address is meant cannot be told.
_NAT64_OF_A_NETWORK = ipaddress.ip_network("64:ff9b:1::/48")
#: The same without any translator, of old.
_COMPATIBLE = ipaddress.ip_network("::/96")


class RefusedError(ValueError):
    """Something that is never fetched, however often it is tried; the message says why."""


def checked_address(url: str) -> urllib.parse.SplitResult:
    """An address in parts, with what is not ASCII escaped.

    Raises:
        RefusedError: If it is no address of the web, or holds a user name.
    """
    shown = url[:200]
    if len(url) > _MOST_LETTERS or re.search(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]", url):
        raise RefusedError(f"address {shown!a} is too long or holds spaces or control characters")
    try:
        parts = urllib.parse.urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise RefusedError(f"address {shown!r} makes no sense ({error})") from error
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise RefusedError(f"addresses of {scheme or 'no scheme'!r} are not fetched, only http and https")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("the address holds a user name or password; what needs one is not collected")
    if not host:
        raise RefusedError(f"address {shown!r} has no host")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise RefusedError(f"the host of {shown!r} is no name ({error})") from error
    host = f"[{host}]" if ":" in host else host
    place = host if port in (None, _SCHEMES[scheme]) else f"{host}:{port}"
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]{}|")
    return urllib.parse.SplitResult(scheme, place, path, query, "")


def is_local(host: str, port: int) -> bool:
    """Whether a host is this machine or in a network that is not public; a name that is not known is not."""
    try:
        return any(not _is_public(address) for address in _addresses(host, port))
    except OSError:
        return False


def open_connection(
    parts: urllib.parse.SplitResult, *, timeout_seconds: float, may_be_local: bool
) -> http.client.HTTPConnection:
    """A connection that reaches a public address, or any if that is allowed; opened by its first request."""
    host, port = parts.hostname or "", parts.port or _SCHEMES[parts.scheme]
    if parts.scheme == "http":
        return _CheckedConnection(host, port, timeout_seconds, may_be_local=may_be_local)
    return _CheckedTlsConnection(host, port, timeout_seconds, may_be_local=may_be_local)


class _CheckedConnection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, timeout: float, *, may_be_local: bool) -> None:
        super().__init__(host, port, timeout=timeout)
        self._may_be_local = may_be_local

    def connect(self) -> None:
        self.sock = _connected(self.host, self.port, self.timeout, self._may_be_local)


class _CheckedTlsConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, port: int, timeout: float, *, may_be_local: bool) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, port, timeout=timeout, context=self._tls)
        self._may_be_local = may_be_local

    def connect(self) -> None:
        plain = _connected(self.host, self.port, self.timeout, self._may_be_local)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _connected(host: str, port: int, timeout: float | None, may_be_local: bool) -> socket.socket:
    addresses = _addresses(host, port)
    for address in addresses:
        # Where machines of a data centre ask for their keys: never a place of media.
        if _is_of_one_machine(_place(address)):
            raise RefusedError(f"{host} leads to {address[0]}, an address that belongs to one machine only")
        if not may_be_local and not _is_public(address):
            raise RefusedError(
                f"{host} leads to {address[0]}, which is this machine or in a private network; allow those that the "
                "manifest names with --config.fetch.allow_local"
            )
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection(address[:2], timeout=timeout)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


def _addresses(host: str, port: int) -> list[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host") from error
    return [(str(address[0]), port) for *_, address in found]


def _place(address: tuple[str, int]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address[0].partition("%")[0])


def _is_public(address: tuple[str, int]) -> bool:
    place = _place(address)
    if isinstance(place, ipaddress.IPv6Address):
        inner = _inner(place)
        if place.is_site_local or place in _NAT64_OF_A_NETWORK:
            return False
        if inner is not None and not _is_public((str(inner), 0)):
            return False
    return place.is_global and not place.is_multicast


def _is_of_one_machine(place: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is link-local, or leads to an IPv4 address that is or may be."""
    if isinstance(place, ipaddress.IPv4Address):
        return place.is_link_local
    inner = _inner(place)
    return place.is_link_local or place in _NAT64_OF_A_NETWORK or (inner is not None and inner.is_link_local)


def _inner(place: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to; None if to none."""
    if place in _NAT64 or place in _COMPATIBLE:
        return ipaddress.IPv4Address(int(place) & 0xFFFFFFFF)
    return place.ipv4_mapped or place.sixtofour or (place.teredo[1] if place.teredo else None)
