import json

import pytest

from hardmo_jax.pipelines.runners.manifest import Failure, Manifest, ManifestError, PartRecord, read_item_states


def _part(number=0, **changes):
    fields = {
        "file": f"{number:05d}.parquet", "num_rows": 3, "num_bytes": 100, "sha256": "ab" * 32, "num_pictures": 10,
        "end": 10 * (number + 1), "next_track": 2, "seconds": {"fit": 0.5}, "told": {"people": 3},
    }  # fmt: skip
    return PartRecord(**(fields | changes))


def _written(folder):
    manifest = Manifest(folder, "")
    manifest.begin("0000000_a", 5)
    manifest.add_part("0000000_a", 0, _part(0))
    manifest.add_part("0000000_a", 1, _part(1))
    manifest.end("0000000_a", {"warnings": ["odd"]})
    manifest.begin("0000001_b", None)
    manifest.fail("0000001_b", Failure(stage="look", reason="no video", trace="there"))
    manifest.close()
    return folder / "manifest/items.jsonl"


def test_what_is_written_is_read(tmp_path):
    _written(tmp_path)
    states = read_item_states(tmp_path)
    assert states["0000000_a"].state == "done"
    assert states["0000000_a"].parts == [_part(0), _part(1)]
    assert states["0000000_a"].told == {"warnings": ["odd"]}
    assert states["0000001_b"].failure == Failure(stage="look", reason="no video", trace="there")


def test_an_item_is_gone_on_with_behind_what_is_kept(tmp_path):
    _written(tmp_path)
    manifest = Manifest(tmp_path, "")
    manifest.begin("0000000_a", 5, kept_parts=1)
    assert manifest.items["0000000_a"].parts == [_part(0)]
    assert manifest.items["0000000_a"].state == "begun"
    manifest.add_part("0000000_a", 1, _part(1, num_rows=9))
    assert read_item_states(tmp_path)["0000000_a"].parts == [_part(0), _part(1, num_rows=9)]
    # Of a source of another size nothing is kept.
    manifest.begin("0000000_a", 6, kept_parts=2)
    assert read_item_states(tmp_path)["0000000_a"].parts == []


def test_a_file_cut_at_any_byte_says_what_stood_before_and_is_gone_on_with(tmp_path):
    path = _written(tmp_path)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for size in range(0, len(data), 7):
        folder = tmp_path / f"cut_{size}"
        (folder / "manifest").mkdir(parents=True)
        (folder / "manifest/items.jsonl").write_bytes(data[:size])
        whole = data[:size].count(b"\n")
        manifest = Manifest(folder, "")
        assert len(manifest.items) == len({json.loads(line)["item"] for line in lines[:whole]})
        manifest.begin("0000002_c", 1)
        manifest.close()
        assert (folder / "manifest/items.jsonl").read_bytes().startswith(b"".join(lines[:whole]))
        assert "0000002_c" in read_item_states(folder)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"item": "a"}',
        '{"item": "../a", "event": "begun", "num_bytes": 1, "kept_parts": 0}',
        '{"item": "a/b", "event": "begun", "num_bytes": 1, "kept_parts": 0}',
        '{"item": "0000000_a", "event": "dance"}',
        '{"item": "unknown", "event": "done", "told": {}}',
        '{"item": "0000000_a", "event": "done", "told": 3}',
        '{"item": "0000000_a", "event": "failed", "stage": 1, "reason": "", "trace": ""}',
        json.dumps({"item": "0000000_a", "event": "part", "number": 7, **_part().to_json()}),
        json.dumps({"item": "0000000_a", "event": "part", "number": 0, **_part(file="../x").to_json()}),
        json.dumps({"item": "0000000_a", "event": "part", "number": 0, **_part().to_json(), "num_rows": "many"}),
        "[" * 100_000,
    ],
)
def test_damaged_lines_are_refused_and_the_file_is_named(tmp_path, line):
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(ManifestError, match=r"items\.jsonl: damaged"):
        read_item_states(tmp_path)


def test_each_shard_has_a_file_and_all_are_read(tmp_path):
    for number in (1, 2):
        manifest = Manifest(tmp_path, f"-{number}-of-2")
        manifest.begin(f"000000{number}_x", 1)
    assert set(read_item_states(tmp_path)) == {"0000001_x", "0000002_x"}
    assert len(list((tmp_path / "manifest").iterdir())) == 2
