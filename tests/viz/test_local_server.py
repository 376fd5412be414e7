"""A server that answers this machine's own pages, and no page of anybody else."""

import asyncio
import contextlib
import http.client

import pytest

from hardmo_jax.viz import local_server as module
from hardmo_jax.viz.local_server import is_own_request, local_server

pytest.importorskip("viser", reason="the viewer needs viser, of the extra `viz`")
websockets = pytest.importorskip("websockets.asyncio.client")


@pytest.fixture(scope="module")
def server():
    found = local_server(8241, label="test")
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("host", "origin", "is_own"),
    [
        ("127.0.0.1:8080", None, True),
        ("localhost:9000", "http://localhost:9000", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "http://127.0.0.1:3000", False),
        ("127.0.0.1:8080", "http://localhost:8080", False),
        ("127.0.0.1:8080", "null", False),
        ("127.0.0.1:8080", "https://evil.example", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example", False),
        ("evil.example:8080", "http://evil.example:8080", False),
        ("127.0.0.1.evil.example", None, False),
        ("127.0.0.1@evil.example", None, False),
        ("evil.example", None, False),
        ("[", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
def test_only_own_pages_on_names_of_this_machine_are_own(host, origin, is_own):
    assert is_own_request(host, origin) is is_own


def asked(server, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.get_port(), timeout=10)
    try:
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_pages_are_given_to_this_machine_alone(server):
    assert asked(server)[0] == 200
    assert asked(server, Host="evil.example")[0] == 403
    assert asked(server, Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_somebody_else_cannot_drive_it(server, origin):
    async def connect():
        async with websockets.connect(
            f"ws://127.0.0.1:{server.get_port()}", origin=origin, subprotocols=["viser-v1.1.1"]
        ):
            return "connected"

    with pytest.raises(Exception, match="403"):
        asyncio.run(connect())


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
        "/..\\..\\etc\\passwd", "/assets/../../__init__.py", "/%2e%2e%5c%2e%2e%5cetc%5cpasswd",
        "/./../../../etc/passwd",
        "/....//....//etc/passwd", "/%252e%252e/etc/passwd", "/index.html/../../../etc/passwd", "/~root",
        "/.git/config",
        "/etc/passwd", "/C:/Windows/win.ini", "/file:///etc/passwd", "/..;/etc/passwd", "/%00/etc/passwd",
        "/..%c0%af..%c0%afetc/passwd", "/labels.parquet",
    ],
)  # fmt: skip
def test_no_address_leads_to_files(server, path):
    status, body = asked(server, path)
    assert status in (400, 404, 500)
    assert b"root:" not in body


def test_there_is_no_tunnel_whoever_asks_for_it(server):
    assert server.request_share_url() is None
    assert server.get_share_url() is None if hasattr(server, "get_share_url") else True


def test_nothing_is_printed_and_a_port_that_is_taken_is_passed_over(server, capsys):
    other = local_server(server.get_port(), label="other")
    try:
        assert other.get_port() != server.get_port()
        assert capsys.readouterr().out == ""
    finally:
        other.stop()


def test_a_viser_that_does_not_check_is_not_started(monkeypatch):

    monkeypatch.setattr(module, "_checked_start", contextlib.nullcontext)
    with pytest.raises(module.LocalServerError, match="answers pages of others"):
        local_server(8251, label="test")
