"""Front matter that others read, and a card that says what the labels say and no more."""

import pytest

from hardmo_jax.export.dataset import dataset_card, dataset_facts
from hardmo_jax.export.dataset.dataset_facts import DatasetExportError, DatasetWords
from hardmo_jax.export.dataset.dataset_files import DatasetShard, dataset_schema
from tests.export.dataset.labels_to_publish import label

SHARDS = (DatasetShard(name="data/train-00000-of-00001.parquet", num_rows=3, num_bytes=1000, sha256="c" * 64),)


def card(rows, words=None, **changes):
    facts = dataset_facts.dataset_facts(rows, **changes)
    return dataset_card.dataset_card(facts=facts, words=words or DatasetWords(), shards=SHARDS)


def front_of(text):
    yaml = pytest.importorskip("yaml")
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


@pytest.fixture
def rows(rng):
    return [
        label(rng, "a.jpg"),
        label(rng, "a.jpg", track_id=1, licence=None, category=None, origin="human", status="FILLED"),
        label(rng, "clip.mp4", "e" * 64, 5, fps=25.0, time_seconds=0.2, label_version=3, parent_version=2),
    ]


@pytest.mark.parametrize("has_pixels", [False, True])
def test_datasets_reads_the_columns_from_the_front_matter(rows, has_pixels):
    datasets = pytest.importorskip("datasets")
    front = front_of(card(rows, has_pixels=has_pixels))
    features = datasets.Features._from_yaml_list(front["dataset_info"]["features"])
    assert features.arrow_schema.names == dataset_schema(with_pixels=has_pixels).names
    if has_pixels:
        assert features.pop("image") == datasets.Image()
    assert features == datasets.Features.from_arrow_schema(dataset_schema(with_pixels=False))
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]},
    ]
    assert front["dataset_info"]["splits"] == [{"name": "train", "num_bytes": 1000, "num_examples": 3}]
    assert front["size_categories"] == ["n<1K"]


def test_the_hub_takes_the_front_matter(rows, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    words = DatasetWords(licence="My Own: Licence v2")
    (tmp_path / "README.md").write_text(card(rows, words))
    data = hub.DatasetCard.load(tmp_path / "README.md").data
    assert data.license == "other"
    assert data.license_name == "my-own-licence-v2"
    assert front_of(card(rows))["license"] == "unknown"
    assert front_of(card(rows, DatasetWords(licence="CC-BY-4.0")))["license"] == "cc-by-4.0"


@pytest.mark.parametrize(
    "name", ['a: "b" #c', "yes", "- x", "line\nbreak\ttab", "\u2028\x85 \U0001f57a", "---", "{a}", "1.0", "'", "null"]
)
def test_any_name_survives_the_front_matter(rows, name):
    assert front_of(card(rows, DatasetWords(name=name)))["pretty_name"] == name


def test_card_says_what_labels_say_and_that_the_rest_is_unknown(rows):
    text = card(rows, num_with_pixels=2, has_pixels=True)
    for told in (
        "cc-by-4.0 2, unknown 1", "ballet 2, unknown 1", "By origin: machine 2 (66.7 %), human 1 (33.3 %)",
        "CONVERGED 2 (66.7 %), FILLED 1 (33.3 %)", f"open_body_smplh, SHA-256 {'b' * 64} (3 labels)",
        "left hand 3", "right foot 0", "the highest is 3", "Pictures are in 2 of 3 rows",
        "Consent of the people: unknown", "python -m tools.remove", "are never deleted",
    ):  # fmt: skip
        assert told in text, told


def test_text_of_strangers_is_neither_html_nor_a_cell_of_its_own(rng):
    text = card([label(rng, "a.jpg", category="<script>x</script>|b", licence="a\nb```")])
    assert "<script>" not in text
    assert "x&lt;/script>\\|b" in text.replace("&lt;script>", "")
    assert card([label(rng, "a.jpg")], DatasetWords(citation="```\n# no")).count("```") == 4


def test_facts_count_tracks_pictures_and_videos(rows):
    facts = dataset_facts.dataset_facts(rows)
    assert (facts.num_labels, facts.num_people, facts.num_pictures) == (3, 3, 2)
    assert (facts.num_sources, facts.num_videos, facts.most_versions) == (2, 1, 3)
    assert facts.labelled == ("2026-11-02", "2026-11-02")
    nothing = dataset_facts.dataset_facts([])
    assert nothing.labelled is None
    assert "unknown" in dataset_card.dataset_card(facts=nothing, words=DatasetWords(), shards=())


@pytest.mark.parametrize(
    ("changes", "match"), [({"name": " "}, "needs a name"), ({"version": "1"}, "MAJOR"), ({"url": "x"}, "https://")]
)
def test_words_that_no_reader_takes_are_refused(changes, match):
    with pytest.raises(DatasetExportError, match=match):
        DatasetWords(**changes)


def test_counts_in_words_sum_up_what_is_rare():
    counts = {f"name{n}": 20 - n for n in range(14)}
    text = dataset_facts.counts_in_words(counts, of=None)
    assert text.startswith("name0 20, name1 19")
    assert text.endswith("2 others 15")
