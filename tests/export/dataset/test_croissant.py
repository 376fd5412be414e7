"""Croissant metadata: taken by the reader of its makers without an error or a warning, and true."""

import datetime
import json

import pytest

from hardmo_jax.export.dataset import croissant, dataset_facts
from hardmo_jax.export.dataset.dataset_facts import DatasetWords
from hardmo_jax.export.dataset.dataset_files import DatasetWriter, dataset_schema
from tests.export.dataset.labels_to_publish import hypotheses, label

DATE = datetime.date(2026, 11, 28)


def write(folder, rows, words=None):
    with DatasetWriter(folder, with_pixels=False) as writer:
        for row in rows:
            writer.add(row)
    facts = dataset_facts.dataset_facts(rows)
    path = croissant.write_croissant(
        folder, facts=facts, words=words or DatasetWords(), shards=writer.shards, date=DATE
    )
    return path, writer.shards


@pytest.mark.parametrize(
    "words",
    [
        DatasetWords(),
        DatasetWords(
            name="Tänze", licence="https://spdx.org/licenses/CC-BY-4.0", creator="Somebody", url="https://example.org/x",
            citation="@misc{x}", has_synthetic_pictures=True, version="2.0.1",
        ),
    ],
    ids=["nothing is known", "all is known"],
)  # fmt: skip
def test_the_makers_reader_finds_neither_errors_nor_warnings(tmp_path, rng, words):
    mlcroissant = pytest.importorskip("mlcroissant")
    path, _ = write(tmp_path, [label(rng, "a.jpg", hypotheses=hypotheses(rng)), label(rng, "b.jpg", "c" * 64)], words)
    dataset = mlcroissant.Dataset(jsonld=path)
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert dataset.metadata.ctx.is_v1_1()
    (record_set,) = dataset.metadata.record_sets
    assert [field.name for field in record_set.fields] == dataset_schema(with_pixels=False).names
    assert [one["labels/source_path"] for one in dataset.records("labels")] == [b"a.jpg", b"b.jpg"]


def test_files_are_named_with_size_and_checksum(tmp_path, rng):
    mlcroissant = pytest.importorskip("mlcroissant")
    path, (shard,) = write(tmp_path, [label(rng, "a.jpg")])
    told = json.loads(path.read_text())
    (file,) = [one for one in told["distribution"] if one["@type"] == "cr:FileObject"]
    assert (file["sha256"], file["contentUrl"], file["contentSize"]) == (
        shard.sha256, shard.name, f"{shard.num_bytes} B",
    )  # fmt: skip
    assert mlcroissant.Dataset(jsonld=path).metadata.file_objects[0].sha256 == shard.sha256


def test_fields_of_responsible_ai_say_what_labels_say_and_that_the_rest_is_unknown(tmp_path, rng):
    rows = [label(rng, "a.jpg"), label(rng, "a.jpg", track_id=1, licence=None, review="rejected")]
    told = json.loads(write(tmp_path, rows)[0].read_text())
    assert told["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    for name in (
        "dataCollection", "dataBiases", "dataLimitations", "dataUseCases", "dataSocialImpact",
        "personalSensitiveInformation", "dataAnnotationProtocol", "machineAnnotationTools",
        "dataReleaseMaintenancePlan", "annotatorDemographics",
    ):  # fmt: skip
        assert told[f"rai:{name}"], name
    assert "rejected 1 (50 %)" in " ".join(told["rai:dataAnnotationProtocol"])
    assert "unknown 1 (50 %)" in " ".join(told["rai:dataBiases"])
    assert told["rai:annotatorDemographics"] == ["unknown"]
    assert "unknown" in told["rai:dataSocialImpact"]
    assert "rai:hasSyntheticData" not in told
    assert "url" not in told
    assert told["datePublished"] == "2026-11-28"
    assert told["creator"]["name"] == "unknown"


def test_many_rows_make_several_shards_in_order(tmp_path, rng, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant")
    monkeypatch.setattr("hardmo_jax.export.dataset.dataset_files._ROWS_PER_GROUP", 2)
    monkeypatch.setattr("hardmo_jax.export.dataset.dataset_files._ROWS_PER_SHARD", 3)
    row = label(rng, "a.jpg")
    rows = [label(rng, "a.jpg", track_id=n, betas=row.betas) for n in range(7)]
    path, shards = write(tmp_path, rows)
    assert [shard.num_rows for shard in shards] == [4, 3]
    assert [shard.name for shard in shards] == [f"data/train-0000{n}-of-00002.parquet" for n in range(2)]
    records = mlcroissant.Dataset(jsonld=path).records("labels")
    assert sorted(one["labels/track_id"] for one in records) == list(range(7))
