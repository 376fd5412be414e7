"""Silent errors: a label that is wrong and looks right is found by what must be equal, whatever is true."""

from unittest import mock

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import evidence
from hardmo_jax.pipelines.fit_pieces import fit_in_pieces
from tests.survive.relations import PEOPLE, ROUNDED, _rows, observed_people, relations


def _without_mask(people, *arguments, **options):
    """A build in which absent points count."""
    return _PREPARE({**people, "confidence_2d": np.maximum(people["confidence_2d"], 0.3)}, *arguments, **options)


_PREPARE = evidence.prepare


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture
def solve(body, broken):
    def solved(seen):
        return np.asarray(hm.lift_and_fit(body, seen).result.keypoints_3d)

    with mock.patch.object(evidence, "prepare", _without_mask if broken == "no_mask" else _PREPARE):
        yield solved


@pytest.mark.slow
@pytest.mark.survive
def test_what_must_be_equal_is(body, solve, promise, figure):
    seen = observed_people(body)
    found = solve(seen)
    with promise("metamorphic relations of the fit") as row:
        worst = []
        for relation in relations():
            error = np.nanmax(np.abs(solve(relation.change(seen)) - relation.expected(found)))
            figure(f"{relation.name}: {1000 * error:.3f} mm (tolerance {1000 * relation.tolerance:g})")
            within = error <= relation.tolerance
            row.tried(None if within else f"{relation.name}: {1000 * error:.3f} mm, told {1000 * relation.tolerance:g}")
            worst.append((error / max(relation.tolerance, 1e-9), relation.name))
        row.note = f"nearest to its tolerance: {max(worst)[1]}"


@pytest.mark.slow
@pytest.mark.survive
def test_people_fitted_one_by_one_are_those_fitted_together(body, solve, promise, figure):
    """Whatever the size of batches, halved where memory ran out or not."""
    seen = observed_people(body)
    together = solve(_rows(seen, np.tile(np.arange(PEOPLE), 4)))

    def some(first, end):
        return solve(_rows(seen, np.arange(first, end) % PEOPLE))

    def without_room(first, end):
        if end - first > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return some(first, end)

    with promise("batches of 1, of 32, and halved") as row:
        for name, most, fit_some, count in (("1", 1, some, 8), ("halved", 8, without_room, 8), ("8", 8, some, 32)):
            error = np.nanmax(np.abs(fit_in_pieces(count, most, fit_some) - together[:count]))
            figure(f"batches of {name}: {1000 * error:.3f} mm from one of 32")
            row.tried(None if error <= ROUNDED else f"batches of {name}: {1000 * error:.3f} mm", cases=count)
