"""Which parts of the package are tried, and by which tests."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Source files that are mutated, and what must notice."""

    sources: tuple[str, ...]
    """Patterns of source files, from the root of the repository."""
    tests: tuple[str, ...]
    """Test files that are run for a mutant."""
    left_out: tuple[str, ...] = ()
    """Names of tests that are not run, as they take longer than all others: what they alone see survives."""


_LABELS = ("store", "sharded_store", "store_manifest", "store_check")

GROUPS = {
    "geometry": Group(
        sources=("hardmo_jax/geometry/*.py",),
        tests=("tests/geometry/*.py",),
    ),
    "metrics": Group(sources=("hardmo_jax/metrics/*.py",), tests=("tests/metrics/*.py",)),
    "labels_store": Group(
        sources=tuple(f"hardmo_jax/labels/{name}.py" for name in _LABELS),
        tests=(
            "tests/labels/test_store.py", "tests/labels/test_sharded_store.py", "tests/labels/test_store_check.py",
            "tests/labels/test_golden_files.py", "tests/labels/test_store_writers.py",
            "tests/labels/test_packed_labels.py",
        ),
        left_out=(
            "test_kill_at_any_moment_leaves_the_store_of_before_or_one_that_says_so",
            "test_two_processes_put_the_same_store_together_at_once",
            "test_many_rows_with_scattered_nulls_round_trip_exactly",
            "test_killed_process_leaves_no_readable_half_shard",
        ),
    ),
    "safe_pickle": Group(
        sources=("hardmo_jax/safe_pickle/*.py",),
        tests=(
            "tests/test_safe_pickle.py", "tests/test_object_pickles.py", "tests/test_pickle_refusals.py",
            "tests/test_pickle_limits.py", "tests/test_described_pickles.py",
        ),
    ),
}  # fmt: skip
