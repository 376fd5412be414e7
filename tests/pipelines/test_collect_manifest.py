"""Manifests in three formats, and what is wrong with them in one line."""

import json

import pytest

from hardmo_jax.pipelines.collect_manifest import ManifestError, Source, read_manifest

ROW = {"source": "a.mp4", "category": "K-Pop", "licence": "CC0", "query": "by hand", "start_seconds": 1.5}


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_three_formats_say_the_same(tmp_path):
    table = written(
        tmp_path, "a.csv", "\ufeffsource,category,licence,query,start_seconds,title\na.mp4,K-Pop,CC0,by hand,1.5,\n\n"
    )
    lines = written(tmp_path, "a.jsonl", json.dumps(ROW) + "\n\n")
    listed = written(tmp_path, "a.json", json.dumps([{**ROW, "title": None}]))
    wanted = (Source(source="a.mp4", category="k_pop", licence="CC0", query="by hand", start_seconds=1.5),)
    assert read_manifest(table) == read_manifest(lines) == read_manifest(listed) == wanted


@pytest.mark.parametrize("licence", ["", " ", "unknown", "Unknown", "N/A", "none", "?", "tbd"])
def test_no_licence_is_known_as_such(licence):
    assert not Source(source="a", category="jazz", query="", licence=licence).has_licence


@pytest.mark.parametrize(
    ("source", "is_address"),
    [("https://h/x", True), ("file:///x", True), ("data:x", True), ("a/b.mp4", False), (r"C:\x.mp4", False)],
)
def test_addresses_are_told_from_paths(source, is_address):
    assert Source(source=source, category="jazz", query="").is_address == is_address


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "source,category,license,query\na,jazz,CC0,x\n", "line 2: unknown key 'license'; did you mean"),
        ("a.csv", "source,category,licence,query\na,balet,CC0,x\n", "line 2: unknown category 'balet'; did you mean"),
        ("a.csv", "source,category,licence\na,jazz,CC0\n", "line 2: missing key 'query'"),
        ("a.csv", "source,category,licence,query\na,jazz,CC0,x,y\n", "line 2: has not as many cells"),
        ("a.csv", "source,category,licence,query\na,jazz\n", "line 2: has not as many cells"),
        ("a.csv", "source,category,licence,query,end_seconds\na,jazz,CC0,x,soon\n", "end_seconds must be seconds"),
        ("a.csv", "source,category,licence,query,end_seconds\na,jazz,CC0,x,nan\n", "must not be negative"),
        ("a.csv", "source,category,licence,query\n,jazz,CC0,x\n", "missing key 'source'"),
        ("a.csv", "source,category,licence,query\n", "names no source"),
        ("a.csv", 'source,category,licence,query\n"a,jazz,CC0,x\n', "unexpected end of data"),
        ("a.jsonl", "{}\n", "line 1: missing key 'source'"),
        ("a.jsonl", "[1]\n", "line 1: expected an object"),
        ("a.jsonl", "{\n", "line 1: is no JSON"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", "{}", "expected a list"),
        ("a.json", '[{"source": 3, "category": "jazz", "query": ""}]', "entry 1.source: expected str"),
        ("a.jsonl", json.dumps({**ROW, "start_seconds": 3, "end_seconds": 2}), "must be later than"),
        ("a.jsonl", json.dumps({**ROW, "sha256": "abc"}), "64 hexadecimal digits"),
        ("a.jsonl", json.dumps({**ROW, "title": "x" * 9000}), "longer than 8192"),
        ("a.xlsx", "", "a manifest ends in"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path, name, text, message):
    with pytest.raises(ManifestError, match=message.replace("[", r"\[")):
        read_manifest(written(tmp_path, name, text))


def test_an_absent_manifest_and_one_that_is_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest at"):
        read_manifest(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(tmp_path / "b.csv")
