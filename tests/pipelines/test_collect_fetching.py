"""Fetching from a server that misbehaves in every way that it can."""

import dataclasses
import os
import time

import pytest

from hardmo_jax.pipelines import fetching, politeness, web_addresses, web_client
from hardmo_jax.pipelines.fetching import ByteBudget, PageError, Part, PartNote
from hardmo_jax.pipelines.web_addresses import RefusedError
from hardmo_jax.pipelines.web_client import FailedError, WebClient
from tests.pipelines import media_server
from tests.pipelines.media_server import QUICK


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    media_server.write_clip(folder / "clip.mp4", 1)
    (folder / "page.html").write_text("<!doctype html><title>no clip</title>")
    (folder / "pretends.mp4").write_text("<html>log in first</html>")
    (folder / "other.mp4").write_bytes((folder / "clip.mp4").read_bytes()[::-1])
    return folder


@pytest.fixture
def server(media):
    with media_server.served(media) as running:
        yield running


@pytest.fixture
def part(tmp_path):
    return Part(folder=tmp_path / "parts", name="x")


def fetched(server, part, path, options=QUICK, budget=None):
    url = server.base + path
    budget = budget or ByteBudget(1e9)
    return fetching.fetch_file(WebClient(options), url, part, budget, about=PartNote(source=url))


def test_a_file_comes_whole_and_we_say_who_we_are(server, part, media):
    note = fetched(server, part, "/plain/clip.mp4?key=secret", dataclasses.replace(QUICK, contact="me@example.org"))
    assert part.path.read_bytes() == (media / "clip.mp4").read_bytes()
    assert note.final_url == server.base + "/plain/clip.mp4"
    assert all(agent.startswith("hardmo_jax/") and "me@example.org" in agent for agent in server.agents)


def test_a_dropped_connection_goes_on_where_it_broke(server, part, media):
    content = (media / "clip.mp4").read_bytes()
    fetched(server, part, "/drop/clip.mp4")
    assert part.path.read_bytes() == content
    assert [wanted for _, wanted in server.log] == [None, f"bytes={len(content) // 2}-"]


def test_a_server_without_range_begins_anew(server, part, media):
    fetched(server, part, "/drop_norange/clip.mp4")
    assert part.path.read_bytes() == (media / "clip.mp4").read_bytes()
    assert [wanted for _, wanted in server.log] == [None, None]


def left_by_a_killed_run(server, part, media, etag='"one"', **note):
    content = (media / "clip.mp4").read_bytes()
    part.folder.mkdir()
    part.path.write_bytes(content[:1000])
    source = server.base + "/plain/clip.mp4"
    part.write_note(PartNote(source=source, etag=etag, total=len(content), **note))
    return content


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
def test_a_killed_run_is_gone_on_with(server, part, media, etag):
    server.etag = etag
    content = left_by_a_killed_run(server, part, media, etag)
    fetched(server, part, "/plain/clip.mp4")
    assert part.path.read_bytes() == content
    assert server.log == [("/plain/clip.mp4", "bytes=1000-")]


@pytest.mark.parametrize("etag", ['"old"', 'W/"old"'])
def test_another_file_at_the_address_is_begun_anew(server, part, media, etag):
    content = left_by_a_killed_run(server, part, media, etag)
    part.path.write_bytes(b"x" * 1000)
    fetched(server, part, "/plain/clip.mp4")
    assert part.path.read_bytes() == content


def test_a_part_of_another_size_is_begun_anew(server, part, media):
    content = left_by_a_killed_run(server, part, media)
    part.write_note(dataclasses.replace(part.read_note(server.base + "/plain/clip.mp4"), total=77777))
    part.path.write_bytes(b"x" * 1000)
    fetched(server, part, "/plain/clip.mp4")
    assert part.path.read_bytes() == content


def test_a_part_that_is_all_there_needs_no_request(server, part, media):
    content = left_by_a_killed_run(server, part, media)
    part.path.write_bytes(content)
    fetched(server, part, "/plain/clip.mp4")
    assert server.log == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"source": 3}', '{"source": "x", "surprise": 1}', "\0"])
def test_a_damaged_note_is_no_note(server, part, media, text):
    content = left_by_a_killed_run(server, part, media)
    part.note_path.write_text(text)
    fetched(server, part, "/plain/clip.mp4")
    assert part.path.read_bytes() == content


def test_a_busy_server_is_asked_again_when_it_says(server, part):
    start = time.monotonic()
    fetched(server, part, "/busy/clip.mp4")
    assert len(server.log) == 2
    assert time.monotonic() - start >= 1.0


def test_a_server_that_is_away_for_long_is_left_alone(server, part):
    with pytest.raises(FailedError, match=r"asks to come back in 3\d\d\d s"):
        fetched(server, part, "/away/clip.mp4")
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("path", "error", "message", "requests"),
    [
        ("/plain/absent.mp4", FailedError, "status 404: not there", 1),
        ("/broken/clip.mp4", FailedError, "status 500 after 3 tries", 3),
        ("/huge/clip.mp4", RefusedError, "more than most_megabytes_per_file", 1),
        ("/endless/clip.mp4", RefusedError, "more than 2 MB", 1),
        ("/loop/clip.mp4", RefusedError, "more than 5 redirects", 6),
        ("/plain/page.html", PageError, "is a page", 1),
        ("/plain/pretends.mp4", PageError, "is a page", 1),
        ("/long/clip.mp4", FailedError, "bytes came of", 3),
    ],
)
def test_what_cannot_be_had_is_said(server, part, path, error, message, requests):
    with pytest.raises(error, match=message):
        fetched(server, part, path)
    assert len(server.log) == requests


@pytest.mark.parametrize(("path", "message"), [("/trickle/clip.mp4", "too slow"), ("/silent/clip.mp4", "answer")])
def test_a_slow_server_is_given_up(server, part, path, message):
    start = time.monotonic()
    with pytest.raises(FailedError, match=message):
        fetched(server, part, path, dataclasses.replace(QUICK, most_tries=1))
    assert time.monotonic() - start < 3


def test_the_collection_has_a_limit_and_the_part_stays(server, part):
    with pytest.raises(FailedError, match="limit of the whole collection"):
        fetched(server, part, "/plain/clip.mp4", budget=ByteBudget(100.0))


def test_robots_are_honoured_and_asked_once(server, part):
    server.robots = b"User-agent: hardmo_jax\nDisallow: /plain/\n\nUser-agent: *\nDisallow:\n"
    client = WebClient(QUICK)
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"robots\.txt"):
            fetching.fetch_file(
                client, server.base + "/plain/clip.mp4", part, ByteBudget(1e9), about=PartNote(source="x")
            )
    assert (server.log, server.robots_asked) == ([], 1)
    fetched(server, part, "/plain/clip.mp4", dataclasses.replace(QUICK, permitted_hosts=("127.0.0.1",)))
    assert server.robots_asked == 1


def test_redirects_are_asked_of_robots_too(server, part):
    server.robots = b"User-agent: *\nDisallow: /plain/\n"
    with pytest.raises(RefusedError, match=r"robots\.txt"):
        fetched(server, part, f"/to/clip?url={server.base}/plain/clip.mp4")


def test_requests_of_a_host_keep_their_distance(server, part):
    server.robots = b"User-agent: *\nCrawl-delay: 0.1\n"
    fetched(server, part, "/plain/clip.mp4", dataclasses.replace(QUICK, min_seconds_between_requests=0.3))
    assert server.moments[1] - server.moments[0] >= 0.3


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://169.254.169.254/latest", "gopher://x", "//[::1"]
)
def test_redirects_lead_nowhere_else(server, part, target):
    with pytest.raises((RefusedError, FailedError)):
        fetched(server, part, f"/to/clip?url={target}")
    assert len(server.log) == 1


def test_this_machine_is_not_asked_unless_it_is_allowed(server, part):
    with pytest.raises(RefusedError, match="this machine"):
        fetched(server, part, "/plain/clip.mp4", dataclasses.replace(QUICK, allow_local=False))
    # A source of the world may not lead here either, though local sources are allowed.
    client = WebClient(QUICK)
    with pytest.raises(RefusedError, match="this machine"), client.answer(server.base + "/x", may_be_local=False):
        pass
    assert server.log == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.5.5", "169.254.169.254", "0.0.0.0", "100.64.0.1", "::1",
        "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "::",
        "fec0::1", "64:ff9b:1::1", "64:ff9b:1::808:808", "::127.0.0.1",
    ],
)  # fmt: skip
def test_private_addresses_are_known(address):
    assert not web_addresses._is_public((address, 80))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe", "::169.254.169.254",
    ],
)  # fmt: skip
def test_addresses_of_one_machine_are_never_asked(address):
    with pytest.raises(RefusedError, match="belongs to one machine"):
        web_addresses._connected(address, 80, 0.2, may_be_local=True)


def test_public_addresses_are_known():
    assert web_addresses._is_public(("93.184.216.34", 80))
    assert web_addresses._is_public(("2606:2800:220:1::1", 80))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://", "http:///x", "http://a b/", "http://a\nb/", "http://u:p@h/x", "http://h:99999/",
        "http://[::1", "javascript:alert(1)", "data:video/mp4;base64,AA", "http://h/\u2028", "x" * 9000, "http://h/\ud800",
    ],
)  # fmt: skip
def test_odd_addresses_are_refused(url):
    with pytest.raises(RefusedError):
        web_addresses.checked_address(url)


def test_addresses_of_other_scripts_are_escaped():
    address = web_addresses.checked_address("HTTP://Bücher.example:80/tänze/a%20b?q=ü#part").geturl()
    assert address == "http://xn--bcher-kva.example/t%C3%A4nze/a%20b?q=%C3%BC"


@pytest.mark.parametrize(("status", "is_allowed"), [(200, False), (404, True), (403, False), (500, False), (0, False)])
def test_what_no_robots_file_means(status, is_allowed):
    rules = politeness.RobotRules(lambda url: (status, b"User-agent: *\nDisallow: /x"))
    assert rules.allow(web_addresses.checked_address("http://h/x/y")) == is_allowed


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), (None, None), ("soon", None), ("-3", None), ("1e9", None)])
def test_retry_after_is_read(header, seconds):
    assert politeness.asked_wait(header) == seconds


def test_a_contact_cannot_smuggle_headers():
    with pytest.raises(ValueError, match="ASCII"):
        web_client.FetchOptions(contact="me\r\nCookie: x")


def test_local_files_are_copied_and_devices_are_not(tmp_path, part, media):
    about = PartNote(source="x")
    note = fetching.copy_file(media / "clip.mp4", part, 1e9, ByteBudget(1e9), about=about)
    assert part.path.read_bytes() == (media / "clip.mp4").read_bytes()
    assert note.total == part.path.stat().st_size
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(RefusedError, match="no file"):
        fetching.copy_file(tmp_path / "pipe.mp4", part, 1e9, ByteBudget(1e9), about=about)
