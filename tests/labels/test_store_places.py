"""Labels are found in the folder of whichever tool left them."""

import pytest

from hardmo_jax.labels import sharded_store, store
from hardmo_jax.labels.store_places import labels_below
from tests.labels.test_schema import make_row


def test_a_file_stands_for_itself(tmp_path):
    path = store.write_labels(tmp_path / "some.parquet", [make_row(0)])
    assert labels_below(path) == path
    assert labels_below(str(path)) == path


def test_of_one_input_it_is_the_file(tmp_path):
    store.write_labels(tmp_path / "labels.parquet", [make_row(0)])
    assert labels_below(tmp_path) == tmp_path / "labels.parquet"


def test_of_a_job_it_is_the_store(tmp_path):
    part = store.write_labels(tmp_path / "part.parquet", [make_row(0)])
    sharded_store.compact_labels([[part]], tmp_path / "labels")
    assert labels_below(tmp_path) == tmp_path / "labels"
    assert len(store.read_labels(labels_below(tmp_path))) == 1
    # The store itself is asked for too.
    assert labels_below(tmp_path / "labels") == tmp_path / "labels"


@pytest.mark.parametrize("name", ["nothing", "labels"])
def test_what_is_neither_is_left_to_who_reads_it(tmp_path, name):
    (tmp_path / "labels").mkdir()
    assert labels_below(tmp_path / name) == tmp_path / name
