"""Collections from manifest to folder: what is kept, what is not and why, names of strangers, runs that were killed."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hardmo_jax.labels import provenance
from hardmo_jax.pipelines import collect, collect_names, collect_source
from hardmo_jax.pipelines.collect import CollectError, CollectOptions
from hardmo_jax.pipelines.collect_records import Collected, RecordsWriter, read_records, write_records
from hardmo_jax.pipelines.video_sites import SiteOptions
from hardmo_jax.pipelines.web_addresses import RefusedError
from tests.pipelines import media_server
from tests.pipelines.media_server import QUICK

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OPTIONS = CollectOptions(fetch=QUICK, hosts_at_once=2)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for seed in range(1, 5):
        media_server.write_clip(folder / f"clip{seed}.mp4", seed)
    media_server.write_clip(folder / "mirrored1.mp4", 1, mirrored=True)
    shutil.copy(folder / "clip2.mp4", folder / "again2.mp4")
    (folder / "noise.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20)
    (folder / "page.html").write_text(
        '<html><head><title>../../evil</title></head><body><video src="clip3.mp4"></video></body></html>'
    )
    return folder


@pytest.fixture
def server(media):
    with media_server.served(media) as running:
        yield running


def manifest_of(folder, *sources, **common):
    path = folder / "sources.jsonl"
    plain = {"category": "tango", "licence": "CC BY 4.0", "query": "by hand", **common}
    rows = [{**plain, **(source if isinstance(source, dict) else {"source": source})} for source in sources]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def by_source(summary):
    return {row.source: row for row in summary.rows}


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_collected_can_be_answered_for(server, media, tmp_path):
    base = server.base + "/plain/"
    odd = {"source": base + "clip4.mp4", "licence": "unknown"}
    wrong = {"source": base + "clip3.mp4?x", "sha256": "0" * 64}
    late = {"source": base + "clip1.mp4", "title": "Tango", "author": "A", "start_seconds": 0.5, "end_seconds": 9.0}
    path = manifest_of(
        tmp_path, late, base + "mirrored1.mp4", base + "clip2.mp4", base + "again2.mp4", base + "noise.mp4",
        base + "absent.mp4", odd, wrong, "file:///etc/passwd", base + "page.html",
    )  # fmt: skip
    output = tmp_path / "out"
    summary = collect.collect(path, output, options=OPTIONS)
    rows = by_source(summary)
    assert [row.status for row in summary.rows] == [
        "kept", "duplicate", "kept", "duplicate", "not_media", "failed", "refused", "failed", "refused", "refused",
    ]  # fmt: skip
    first = rows[base + "clip1.mp4"]
    file = output / first.file
    assert file.read_bytes() == (media / "clip1.mp4").read_bytes()
    assert first.file == f"tango/tango-{collect_names.short_id(base + 'clip1.mp4')}.mp4"
    assert (first.width, first.height, first.fps, first.duration) == (96, 96, 8.0, 1.5)
    assert (first.bytes, first.sha256) == (file.stat().st_size, provenance.file_sha256(file))
    assert (first.author, first.query, first.licence, first.final_url) == ("A", "by hand", "CC BY 4.0", first.source)
    assert len(first.perceptual_hash) == 16
    assert "ends after the video" in first.reason
    mirrored, again = rows[base + "mirrored1.mp4"], rows[base + "again2.mp4"]
    assert (mirrored.duplicate_of, again.duplicate_of) == (base + "clip1.mp4", base + "clip2.mp4")
    assert "mirrored" in mirrored.reason
    assert "equal content" in again.reason
    assert mirrored.file.startswith("aside/tango/")
    assert "has no licence" in rows[base + "clip4.mp4"].reason
    assert "another file than the manifest says" in rows[base + "clip3.mp4?x"].reason
    assert "config.sites.allow" in rows[base + "page.html"].reason
    assert not any("clip4" in path for path, _ in server.log)
    assert list(read_records(output)) == [row.source for row in summary.rows]
    record = json.loads((output / "run.json").read_text())
    assert record["results"]["statuses"] == {"kept": 2, "duplicate": 2, "not_media": 1, "failed": 2, "refused": 3}
    assert not summary.is_complete


def test_a_second_run_asks_for_nothing(server, tmp_path):
    base = server.base + "/plain/"
    names = ("clip1.mp4", "mirrored1.mp4", "noise.mp4", "again2.mp4", "clip2.mp4")
    path = manifest_of(tmp_path, *(base + name for name in names))
    output = tmp_path / "out"
    first = collect.collect(path, output, options=OPTIONS)
    files, requests, robots = files_of(output), len(server.log), server.robots_asked
    second = collect.collect(path, output, options=OPTIONS)
    assert (len(server.log), server.robots_asked) == (requests, robots)
    assert second.num_fetched == second.num_bytes == 0
    assert second.rows == first.rows
    assert files_of(output) == files


@pytest.mark.parametrize("rejected", ["aside", "delete"])
def test_rejected_files_go_where_they_should(server, tmp_path, rejected):
    base = server.base + "/plain/"
    path = manifest_of(tmp_path, base + "clip1.mp4", base + "mirrored1.mp4", base + "noise.mp4")
    output = tmp_path / "out"
    options = dataclasses.replace(OPTIONS, rejected=rejected)
    collect.collect(path, output, options=options)
    assert len([name for name in files_of(output) if name.startswith("aside/")]) == (2 if rejected == "aside" else 0)
    assert len([name for name in files_of(output) if name.startswith("tango/")]) == 1
    requests = len(server.log)
    collect.collect(path, output, options=options)
    assert len(server.log) == requests


def test_a_damaged_or_lost_file_is_fetched_again(server, media, tmp_path):
    sources = [server.base + f"/plain/clip{number}.mp4" for number in (1, 2)]
    path = manifest_of(tmp_path, *sources)
    output = tmp_path / "out"
    rows = collect.collect(path, output, options=OPTIONS).rows
    (output / rows[0].file).unlink()
    with (output / rows[1].file).open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    collect.collect(path, output, options=OPTIONS)
    assert len(server.log) == 4
    assert (output / rows[1].file).read_bytes() == (media / "clip2.mp4").read_bytes()
    # Somebody may have changed it on purpose.
    assert len([name for name in files_of(output) if name.startswith("aside/tango/")]) == 1


def test_what_leaves_the_manifest_and_the_folder_leaves_the_list(server, tmp_path):
    sources = [server.base + "/plain/clip1.mp4", server.base + "/plain/clip2.mp4"]
    output = tmp_path / "out"
    rows = collect.collect(manifest_of(tmp_path, *sources), output, options=OPTIONS).rows
    shorter = manifest_of(tmp_path, sources[1])
    collect.collect(shorter, output, options=OPTIONS)
    assert set(read_records(output)) == set(sources)
    (output / rows[0].file).unlink()
    collect.collect(shorter, output, options=OPTIONS)
    assert set(read_records(output)) == {sources[1]}
    assert not any(rows[0].sha256 in name for name in files_of(output))


def test_a_copy_takes_the_place_of_what_is_gone(server, tmp_path):
    sources = [server.base + "/plain/clip1.mp4", server.base + "/plain/mirrored1.mp4"]
    output = tmp_path / "out"
    rows = collect.collect(manifest_of(tmp_path, *sources), output, options=OPTIONS).rows
    (output / rows[0].file).unlink()
    summary = collect.collect(manifest_of(tmp_path, sources[1]), output, options=OPTIONS)
    assert summary.rows[0].status == "kept"
    assert summary.rows[0].file.startswith("tango/")
    assert (output / summary.rows[0].file).is_file()
    assert len(server.log) == 2


def test_a_change_of_category_moves_the_file(server, tmp_path):
    source = server.base + "/plain/clip1.mp4"
    output = tmp_path / "out"
    collect.collect(manifest_of(tmp_path, source), output, options=OPTIONS)
    row = collect.collect(manifest_of(tmp_path, source, category="rumba"), output, options=OPTIONS).rows[0]
    assert row.file.startswith("rumba/")
    assert (output / row.file).is_file()
    assert len(server.log) == 1


def test_a_source_that_is_listed_twice_is_fetched_once(server, tmp_path):
    source = server.base + "/plain/clip1.mp4"
    again, other = {"source": source, "start_seconds": 1.0}, {"source": source, "category": "rumba"}
    summary = collect.collect(manifest_of(tmp_path, source, again, other), tmp_path / "out", options=OPTIONS)
    assert [row.status for row in summary.rows] == ["kept", "kept", "refused"]
    assert "is listed before as tango" in summary.rows[2].reason
    assert len(server.log) == 1


def test_local_files_are_copied_or_referred_to(media, tmp_path):
    relative = os.path.relpath(media / "clip1.mp4", tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    path = manifest_of(tmp_path, relative, "secret.txt", "absent.mp4", str(media))
    copied = collect.collect(path, tmp_path / "copied", options=OPTIONS)
    assert [row.status for row in copied.rows] == ["kept", "not_media", "failed", "refused"]
    assert (tmp_path / "copied" / copied.rows[0].file).is_file()
    assert not any("secret" in name for name in files_of(tmp_path / "copied"))
    options = dataclasses.replace(OPTIONS, local_files="reference", rejected="delete")
    referred = collect.collect(path, tmp_path / "referred", options=options)
    assert [row.status for row in referred.rows] == ["kept", "not_media", "failed", "refused"]
    assert pathlib.Path(referred.rows[0].file) == (media / "clip1.mp4").resolve()
    assert not list((tmp_path / "referred").rglob("*.mp4"))
    assert (tmp_path / "secret.txt").exists()


def test_pages_are_read_by_yt_dlp_if_that_is_allowed(server, tmp_path):
    pytest.importorskip("yt_dlp")
    page = server.base + "/plain/page.html"
    options = dataclasses.replace(OPTIONS, sites=SiteOptions(allow=True))
    row = collect.collect(manifest_of(tmp_path, page), tmp_path / "out", options=options).rows[0]
    assert (row.status, row.final_url) == ("kept", server.base + "/plain/clip3.mp4")
    assert row.file.startswith("tango/evil")
    assert {agent.split("/")[0] for agent in server.agents} == {"hardmo_jax"}
    server.robots = b"User-agent: *\nDisallow: /plain/clip3.mp4\n"
    row = collect.collect(manifest_of(tmp_path, page + "?again"), tmp_path / "out2", options=options).rows[0]
    assert (row.status, "robots.txt" in row.reason) == ("refused", True)


HOSTILE = [
    "../../x", "../" * 40 + "etc/passwd", "/etc/passwd", "//server/share", r"..\..\x",
    r"C:\Windows\x", "C:x", "a\0b", "CON", "con", "NUL.mp4", "aux", "COM1", "lpt9", "PRN",
    "clock$", "CONIN$", "trailing...", "trailing   ", ". ", ".", "..", "...", "~", "~root", "-rf",
    "--config=x", "-", "x" * 300, "ü" * 300, "😀" * 300, "😀", "a\nb", "a\r\nb", "\u202egpj.exe",
    "\u200b", "%2e%2e/", "%2e%2e%2fx", "..%2f..%2fx", "..%c0%afx", "%00", "a:b", "a?b*c",
    "<script>", "\"quoted\"", "'; rm -rf /", "$(id)", "`id`", "a|b", "a;b", "&&", ".hidden",
    ".htaccess", "desktop.ini", "Thumbs.db", "舞蹈", "عربي", "\ud800", "\x1b[31m", "", " ", "\t",
    "e\u0301", "ﬁ", "run.json", "collected.jsonl", ".parts/x", "aside/x", "ｃｏｎ", "İ",
]  # fmt: skip


def test_names_of_strangers_stay_inside(media, tmp_path):
    assert len(HOSTILE) >= 60
    (tmp_path / "in").mkdir()
    copies = []
    for number, title in enumerate(HOSTILE):
        copy = tmp_path / "in" / f"{number}.mp4"
        copy.write_bytes((media / "clip1.mp4").read_bytes() + bytes([number]))
        copies.append({"source": f"in/{number}.mp4", "title": title, "query": title, "author": title})
    before = set(files_of(tmp_path))
    output = tmp_path / "out"
    options = dataclasses.replace(OPTIONS, find_duplicates=False)
    summary = collect.collect(manifest_of(tmp_path, *copies), output, options=options)
    assert {row.status for row in summary.rows} == {"kept"}
    made = set(files_of(tmp_path)) - before - {"sources.jsonl"}
    assert all(name.startswith("out/") for name in made)
    names = [pathlib.PurePosixPath(row.file) for row in summary.rows]
    assert len({str(name).casefold() for name in names}) == len(HOSTILE)
    for name in names:
        assert len(name.parts) == 2
        assert name.stem.rpartition("-")[0].replace("-", "").isalnum()
        assert name.name.isascii()
        assert len(name.name) <= 80
    assert collect.collect(manifest_of(tmp_path, *copies), output, options=options).rows == summary.rows


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_addresses_get_plain_names(title):
    name = collect_names.file_name(title, "http://h/" + title, ".mp4")
    assert name.isascii()
    assert name.replace("-", "").removesuffix(".mp4").isalnum()
    assert not name.startswith("-")


@pytest.mark.parametrize("name", ["tango", "aside", ".parts", ".fingerprints", "collected.jsonl", "run.json"])
def test_links_in_the_output_folder_are_refused(media, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    output = tmp_path / "out"
    output.mkdir()
    (output / name).symlink_to(elsewhere)
    with pytest.raises(CollectError, match="is a link"):
        collect.collect(manifest_of(tmp_path, str(media / "clip1.mp4")), output, options=OPTIONS)
    assert not list(elsewhere.iterdir())


def test_a_record_cannot_name_files_outside(media, tmp_path):
    """Of a folder that somebody else made."""
    output = tmp_path / "out"
    output.mkdir()
    (tmp_path / "precious.mp4").write_text("mine")
    source = str(media / "clip1.mp4")
    row = Collected(source=source, status="kept", file="../precious.mp4", category="../..", bytes=4, sha256="0" * 64)
    write_records(output, [row, dataclasses.replace(row, source="gone", status="duplicate", duplicate_of=source)])
    summary = collect.collect(manifest_of(tmp_path, source), output, options=OPTIONS)
    assert summary.rows[0].status == "kept"
    assert (tmp_path / "precious.mp4").read_text() == "mine"


@pytest.mark.parametrize(
    "hostile",
    [
        {"category": "../../home/.ssh"}, {"category": ""}, {"category": "aside"}, {"category": "/root"},
        {"sha256": "../../../home/pwned"}, {"sha256": "0" * 63}, {"sha256": "0" * 64 + "\n"}, {"sha256": "G" * 64},
        {"file": "../ballet/clip"}, {"file": "ballet/../../clip"}, {"file": "ballet/.."}, {"file": "ballet"},
        {"file": "run.json"}, {"file": ".parts/clip"}, {"file": "/etc/passwd"}, {"file": "aside/../../clip"},
        {"file": "ballet/a/../../../clip"}, {"file": "aside/clip"}, {"file": "ballet/a\0b"}, {"file": "ballet/..\\x"},
        {"file": "ballet/C:x"}, {"file": ""}, {"file": "clip", "is_reference": True},
    ],
)  # fmt: skip
def test_rows_by_which_files_would_leave_are_passed_over(media, tmp_path, hostile):
    output = tmp_path / "a" / "b" / "out"
    (output / "ballet").mkdir(parents=True)
    (output / "ballet" / "clip").write_bytes((media / "clip1.mp4").read_bytes())
    plain = Collected(source="gone", status="kept", file="ballet/clip", category="ballet", bytes=4, sha256="0" * 64)
    write_records(output, [plain])
    assert read_records(output) == {"gone": plain}
    write_records(output, [dataclasses.replace(plain, **hostile)])
    assert read_records(output) == {}
    collect.collect(manifest_of(tmp_path, str(media / "clip2.mp4")), output, options=OPTIONS)
    outside = [name for name in files_of(tmp_path) if not name.startswith("a/b/out/")]
    assert outside == ["sources.jsonl"]
    assert (output / "ballet" / "clip").is_file()


def test_no_file_is_moved_out_of_the_output_folder(tmp_path):
    place = collect_source.Place(output=tmp_path / "out", sources=tmp_path, rejected="aside", is_reference=False)
    (place.output / "ballet").mkdir(parents=True)
    (place.output / "ballet" / "clip").write_text("mine")
    for category in ("../../home", str(tmp_path / "home"), ".", "ballet/../.."):
        row = Collected(source="a", status="kept", file="ballet/clip", category=category)
        with pytest.raises(RefusedError, match="outside"):
            collect_source.put_back(row, place)
    assert files_of(tmp_path) == ["out/ballet/clip"]


@pytest.mark.parametrize("rejected", ["aside", "delete"])
def test_media_whose_licence_is_taken_back_leave_their_folder(media, tmp_path, rejected):
    source, output = str(media / "clip1.mp4"), tmp_path / "out"
    options = dataclasses.replace(OPTIONS, rejected=rejected)
    kept = collect.collect(manifest_of(tmp_path, source, licence="CC0"), output, options=options).rows[0]
    assert kept.status == "kept"
    for _ in range(2):
        row = collect.collect(manifest_of(tmp_path, source, licence=""), output, options=options).rows[0]
        assert (row.status, row.licence) == ("refused", "")
        assert "has no licence" in row.reason
        assert row.file == (f"aside/{kept.file}" if rejected == "aside" else None)
        media_files = [name for name in files_of(output) if name not in ("collected.jsonl", "run.json")]
        assert media_files == ([row.file] if rejected == "aside" else [])
        assert read_records(output)[source] == row
    again = collect.collect(manifest_of(tmp_path, source, licence="CC0"), output, options=options)
    assert (again.rows[0].status, again.rows[0].file) == ("kept", kept.file)
    assert again.num_fetched == (0 if rejected == "aside" else 1)
    assert not [name for name in files_of(output) if name.startswith("aside/")]


def test_a_folder_of_others_is_refused(media, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.docx").write_text("mine")
    with pytest.raises(CollectError, match="which no collect run wrote"):
        collect.collect(manifest_of(tmp_path, str(media / "clip1.mp4")), output, options=OPTIONS)


def test_lines_that_were_cut_off_are_passed_over(tmp_path):
    row = Collected(source="a", status="failed", category="tango", reason="old")
    write_records(tmp_path, [row])
    with (tmp_path / "collected.jsonl").open("a") as file:
        file.write('[]\n{"source": 3, "status": "kept"}\n\n{"source": "b", "sta')
    with RecordsWriter(tmp_path) as writer:
        writer.add(dataclasses.replace(row, reason="new"))
    assert read_records(tmp_path) == {"a": dataclasses.replace(row, reason="new")}


KILLED = """
import sys
from tests.pipelines.media_server import QUICK
from hardmo_jax.pipelines import collect
collect.collect(sys.argv[1], sys.argv[2], options=collect.CollectOptions(fetch=QUICK, hosts_at_once=1))
"""


def test_a_run_that_is_killed_is_gone_on_with(server, media, tmp_path):
    """Killed while the second file trickles in; the first one is there, and is not asked for again."""
    sources = [server.base + "/plain/clip1.mp4", server.base + "/trickle/clip2.mp4"]
    output = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(manifest_of(tmp_path, *sources)), str(output)]
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    while len(server.log) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    # What is not a whole file is nowhere but among the parts.
    assert all(
        (output / "tango" / name).read_bytes() == (media / "clip1.mp4").read_bytes()
        for name in files_of(output / "tango")
    )
    server.log.clear()
    path = manifest_of(tmp_path, sources[0])
    summary = collect.collect(path, output, options=OPTIONS)
    assert (summary.rows[0].status, server.log) == ("kept", [])


@pytest.mark.parametrize("moment", ["write_note", "_move", "forget_part", "add"])
def test_killed_between_any_two_steps_nothing_is_fetched_twice(server, tmp_path, monkeypatch, moment):
    source = server.base + "/plain/clip1.mp4"
    path, output = manifest_of(tmp_path, source), tmp_path / "out"
    holder = {
        "write_note": collect_source.Part, "_move": collect_source, "forget_part": collect_source, "add": RecordsWriter,
    }[moment]  # fmt: skip
    plain, calls = getattr(holder, moment), []

    def killed(*arguments):
        calls.append(arguments)
        # The third note is the one with the file's name; of all else the first call ends the run.
        if len(calls) < (3 if moment == "write_note" else 1):
            return plain(*arguments)
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(holder, moment, killed)
        with pytest.raises(MemoryError):
            collect.collect(path, output, options=OPTIONS)
    assert len(server.log) == 1
    row = collect.collect(path, output, options=OPTIONS).rows[0]
    assert row.status == "kept"
    assert len(server.log) == 1
    assert files_of(output / ".parts") == []
