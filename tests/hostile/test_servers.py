"""What listens does so for this machine alone; whom it answers is for `tests/viz/test_local_server.py` to show."""

import ast
import os
import socket
import subprocess
import sys

import psutil
import pytest

from hardmo_jax.viz.local_server import local_server
from tests.conftest import ROOT

#: Where sockets that listen, and servers of web frameworks, may be made.
_SERVERS = {
    "hardmo_jax/viz/local_server.py": {"ViserServer"},
}
_MAKERS = {
    "ViserServer", "HTTPServer", "ThreadingHTTPServer", "TCPServer", "ThreadingTCPServer", "UDPServer",
    "create_server", "start_server", "start_unix_server", "serve_forever", "listen", "bind", "Listener", "Flask",
    "FastAPI", "Server", "BaseManager", "SyncManager",
}  # fmt: skip


def listening(process):
    """Addresses on which a process and its children listen or wait for datagrams."""
    found = []
    for one in (process, *process.children(recursive=True)):
        for connection in one.net_connections(kind="inet"):
            is_open = connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
            if is_open and connection.laddr:
                found.append(connection.laddr.ip)
    return found


def test_the_viewer_listens_on_this_machine_alone():
    pytest.importorskip("viser", reason="the viewer is an extra")
    before = len(listening(psutil.Process()))
    server = local_server(8391, label="scan")
    try:
        addresses = listening(psutil.Process())
        assert len(addresses) > before
        assert set(addresses) == {"127.0.0.1"}
        with socket.socket() as own:
            assert own.connect_ex(("127.0.0.1", server.get_port())) == 0
        for address in other_addresses():
            with socket.socket() as own:
                own.settimeout(2)
                assert own.connect_ex((address, server.get_port())) != 0, address
    finally:
        server.stop()


def other_addresses():
    """Addresses of this machine by which others reach it."""
    found = [one.address for some in psutil.net_if_addrs().values() for one in some if one.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]


def test_servers_are_made_in_one_place():
    for path in sorted([*(ROOT / "hardmo_jax").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        made = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                made.add(called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""))
            elif isinstance(node, ast.ClassDef):
                made |= {base.attr for base in node.bases if isinstance(base, ast.Attribute)}
        assert made & _MAKERS <= _SERVERS.get(name, set()), name


def test_a_decoding_process_listens_on_nothing():
    code = (
        "import sys; from hardmo_jax.perception.decoding_process import ProcessDecoder\n"
        "with ProcessDecoder() as decoder, decoder._child() as child:\n"
        "    print('ready', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            assert listening(psutil.Process(process.pid)) == []
        finally:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(20) == 0
