"""Addresses with tokens are fetched with them and written down without, and are known again by the rest."""

import json

import pytest

from hardmo_jax.pipelines import collect, collect_names
from hardmo_jax.pipelines.collect import CollectOptions
from hardmo_jax.pipelines.collect_records import Collected, SourceNames, public_source, read_records, write_records
from hardmo_jax.pipelines.video_sites import SiteOptions
from tests.pipelines import media_server
from tests.pipelines.media_server import QUICK

OPTIONS = CollectOptions(fetch=QUICK, hosts_at_once=2, sites=SiteOptions())


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for seed in (1, 2):
        media_server.write_clip(folder / f"clip{seed}.mp4", seed)
    return folder


@pytest.fixture
def server(media):
    with media_server.served(media) as running:
        yield running


def collected(folder, *sources, **about):
    path = folder / "sources.jsonl"
    plain = {"category": "tango", "licence": "CC0", "query": "by hand", **about}
    path.write_text("".join(json.dumps({**plain, "source": source}) + "\n" for source in sources))
    return collect.collect(path, folder / "out", options=OPTIONS)


def written(folder):
    """All that a run left, but the media themselves."""
    files = [path for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".mp4"]
    return b"\n".join(path.name.encode() + path.read_bytes() for path in files).decode("latin-1")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "https://host/a.mp4?X-Amz-Date=1&X-Amz-Signature=geheim",
            "https://host/a.mp4?X-Amz-Date=1&X-Amz-Signature=***",
        ),
        ("https://host/a.mp4?access_token=geheim&v=3#t=2", "https://host/a.mp4?access_token=***&v=3#t=2"),
        ("https://host/a.mp4?hdnts=exp=1~hmac=geheim", "https://host/a.mp4?hdnts=***"),
        ("https://anna:geheim@host/a.mp4", "https://***@host/a.mp4"),
        ("https://host/watch?v=dQw4w9WgXcQ&t=9", "https://host/watch?v=dQw4w9WgXcQ&t=9"),
        ("/home/anna/token=geheim.mp4", "/home/anna/token=geheim.mp4"),
    ],
)
def test_addresses_are_written_without_credentials_and_paths_as_they_are(address, told):
    assert public_source(address) == told
    assert public_source(told) == told


def test_tokens_are_sent_and_never_written(server, tmp_path):
    sources = [f"{server.base}/plain/{name}.mp4?token=geheim{name}" for name in ("clip1", "absent")]
    sources += [f"http://anna:geheim@host/{'x' * 9}.mp4", f"{server.base}/trickle/clip2.mp4?sig=geheim"]
    summary = collected(tmp_path, *sources, query="https://search/?q=tango&apikey=geheim")
    assert [row.status for row in summary.rows][:3] == ["kept", "failed", "refused"]
    assert [row.source for row in summary.rows] == sources
    assert any("token=geheimclip1" in path for path, _ in server.log)
    assert "geheim" not in written(tmp_path)
    assert "anna" not in written(tmp_path)


def test_a_renewed_signature_fetches_nothing_again(server, tmp_path):
    base = f"{server.base}/plain/clip1.mp4?part=1&signature="
    first = collected(tmp_path, f"{base}geheim1").rows[0]
    server.log.clear()
    second = collected(tmp_path, f"{base}geheim2").rows[0]
    assert (second.status, second.file, second.source) == ("kept", first.file, f"{base}geheim2")
    assert server.log == []


def test_a_list_of_before_tokens_were_left_out_is_gone_on_with(server, tmp_path):
    source = f"{server.base}/plain/clip1.mp4?token=geheim"
    collected(tmp_path, source)
    path = tmp_path / "out" / "collected.jsonl"
    path.write_text(path.read_text().replace("token=***", "token=geheim"))
    server.log.clear()
    assert collected(tmp_path, source).rows[0].status == "kept"
    assert (server.log, "geheim" in written(tmp_path)) == ([], False)


def test_sources_that_differ_in_a_key_only_stay_two(server, tmp_path):
    """Even where the second one comes later, and where the first one goes."""
    first, second = (f"{server.base}/plain/clip{number}.mp4?key=geheim{number}" for number in (1, 2))
    second = second.replace("clip2.mp4", "clip1.mp4")
    alone = collected(tmp_path, first).rows[0]
    server.log.clear()
    both = collected(tmp_path, first, second)
    assert [row.status for row in both.rows] == ["kept", "duplicate"]  # the server gives both the same file
    assert (both.rows[0].file, both.rows[1].duplicate_of) == (alone.file, first)
    assert len(server.log) == 1
    lines = [json.loads(line) for line in (tmp_path / "out" / "collected.jsonl").read_text().splitlines()]
    assert [line["source"].rpartition("#")[2] for line in lines] == [collect_names.short_id(s) for s in (first, second)]
    assert lines[1]["duplicate_of"] == lines[0]["source"]
    server.log.clear()
    again = collected(tmp_path, first, second)
    assert ([row.status for row in again.rows], server.log) == (["kept", "duplicate"], [])
    collected(tmp_path, first)
    assert server.log == []
    assert "geheim" not in written(tmp_path)


def test_two_rows_of_what_is_one_source_now_both_stay(tmp_path):
    source = "https://host/a.mp4?token=geheim"
    rows = [
        Collected(source=name, status="kept", category="tango", file=f"tango/{number}.mp4")
        for number, name in enumerate(
            (f"{public_source(source)}#{collect_names.short_id(source)}", public_source(source))
        )
    ]
    write_records(tmp_path, rows)
    meant = SourceNames([source]).meant(read_records(tmp_path))
    assert sorted(row.file or "" for row in meant.values()) == ["tango/0.mp4", "tango/1.mp4"]
    assert source in meant


@pytest.mark.parametrize("field", ["reason", "query", "final_url", "duplicate_of"])
def test_a_row_whose_text_is_none_is_passed_over(tmp_path, field):
    row = {"source": "a", "status": "kept", "category": "tango", field: ["x"]}
    (tmp_path / "collected.jsonl").write_text(json.dumps(row) + "\n")
    assert read_records(tmp_path) == {}
