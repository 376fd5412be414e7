"""Photos and videos that a broken disk or a stranger changed are read or refused; nothing hangs or crashes."""

import pytest

from hardmo_jax.perception.decoding_process import DecodingLimits, ProcessDecoder
from tests.reference import hostile_media

#: Of the files of these tests, which have a few thousand pixels: a healthy decoder takes milliseconds and megabytes.
_LIMITS = DecodingLimits(seconds=10.0, memory_bytes=3 << 30)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return hostile_media.seeds(tmp_path_factory.mktemp("whole"))


def _run(whole, count, seed, folder, figure):
    with ProcessDecoder(_LIMITS) as decoder:
        outcomes = hostile_media.read_each(hostile_media.mutated(whole, count, seed), folder, decoder)
        num_deaths = decoder.num_started - 1
    total = outcomes.total()
    figure(
        f"{count} mutated photos and videos of {len(whole)} formats: {total['read']} read, {total['refused']} refused, "
        f"{total['ended']} ended their process; the longest took {outcomes.longest_seconds:.2f} s"
    )
    assert total.total() == count
    # A crash is contained, so it fails no job; but it is to be known, and its file to be kept.
    assert num_deaths == total["ended"]
    assert [(name, message) for name, message, _ in outcomes.ended] == []
    return outcomes


def test_formats_are_many_and_whole_files_are_read(whole, tmp_path):
    assert len(whole) >= 50
    with ProcessDecoder(_LIMITS) as decoder:
        files = ((name, suffix, data) for name, (suffix, data) in whole.items())
        outcomes = hostile_media.read_each(files, tmp_path, decoder)
    assert outcomes.total() == {"read": len(whole)}


def test_mutated_files_are_read_or_refused(whole, tmp_path, figure):
    outcomes = _run(whole, 318, 1, tmp_path, figure)
    total = outcomes.total()
    # Neither is all refused at once, nor does nothing happen to them.
    assert total["read"] > 30
    assert total["refused"] > 30


@pytest.mark.slow
def test_thousands_of_mutated_files_are_read_or_refused(whole, tmp_path, figure):
    outcomes = _run(whole, 12_000, 2, tmp_path, figure)
    assert min(sum(counts.values()) for counts in outcomes.by_format.values()) >= 200
