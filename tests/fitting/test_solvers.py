"""The solvers on a small problem: descent, frozen groups, slots, independence of the people of a batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import adam, lbfgs, levenberg_marquardt, objective, stages, variables
from tests.fitting import synthetic_people

LAYOUT = "coco17"
COUNT = 9
STEPS = 9
FEW_SLOTS = 2
#: First-order steps for one of `STEPS`: enough of L-BFGS to come near a minimum.
LBFGS_STEPS = 60
#: Float32: sums are reordered when other rows of the batch differ, and the linear solves amplify it.
TOLERANCE_ROW = 1e-3
#: Float64: the same between programs of other slot counts.
TOLERANCE_64 = 1e-8


@dataclasses.dataclass(frozen=True)
class Problem:
    """SMPL's joints, people seen in 2D, started 0.2 rad from the truth."""

    model: landmarks.PointModel
    prior: objective.Prior
    evidence: objective.Evidence
    orient: jax.Array
    start: jax.Array

    @property
    def layout(self) -> variables.Layout:
        return variables.Layout.of(self.model.body)

    def rows(self, order) -> "Problem":
        evidence, orient, start = synthetic_people.rows_of((self.evidence, self.orient, self.start), order)
        return dataclasses.replace(self, evidence=evidence, orient=orient, start=start)


def make_problem(dtype) -> Problem:
    body = hm.open_body(view="smpl", dtype=dtype)
    people = synthetic_people.draw(body, LAYOUT, count=COUNT, seed=7)
    layout = variables.Layout.of(body)
    rng = np.random.default_rng(8)
    vector, orient = layout.from_params(people.params)
    noise = rng.normal(size=vector.shape) * np.where(np.arange(layout.size) < 3, 0.05, 0.2)
    camera = people.camera
    side = (people.pixels.max(1) - people.pixels.min(1)).max(-1)
    evidence = objective.Evidence(
        keypoints_2d=jnp.asarray(people.pixels, dtype),
        weight_2d=jnp.asarray(people.confidence * 200, dtype),
        keypoints_3d=None,
        weight_3d=None,
        is_hand=jnp.zeros(people.pixels.shape[:-1], dtype),
        focal_length=jnp.tile(jnp.asarray(camera.focal_length, dtype), (COUNT, 1)),
        principal_point=jnp.tile(jnp.asarray(camera.principal_point, dtype), (COUNT, 1)),
        box_side=jnp.asarray(side, dtype),
    )
    return Problem(
        model=synthetic_people.point_model(body, LAYOUT),
        prior=jax.tree.map(jnp.asarray, objective.make_prior(layout, body.joint_names, 0.05, np.dtype(dtype))),
        evidence=evidence,
        orient=orient,
        start=vector + jnp.asarray(noise, dtype),
    )


@pytest.fixture(scope="module")
def problem():
    return make_problem(np.float32)


@dataclasses.dataclass(frozen=True)
class Solved:
    """A solution in NumPy, one row a start."""

    vector: np.ndarray
    cost: np.ndarray
    is_converged: np.ndarray
    history: np.ndarray

    @classmethod
    def of(cls, solution) -> "Solved":
        return cls(*(np.asarray(getattr(solution, field.name)) for field in dataclasses.fields(cls)))

    def rows(self, rows) -> "Solved":
        return Solved(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


_LEVENBERG_MARQUARDT = jax.jit(levenberg_marquardt.solve, static_argnames=("slots", "is_one_by_one"))
FIRST_ORDER = {
    "adam": jax.jit(functools.partial(adam.solve, learning_rate=0.02, steps_per_iteration=10)),
    "lbfgs": jax.jit(functools.partial(lbfgs.solve, steps_per_iteration=LBFGS_STEPS)),
}
SOLVERS = ("levenberg_marquardt", *FIRST_ORDER)
ALL = stages.Stage(iterations=STEPS)


def schedule_of(layout, stage_list, dtype=np.float32):
    """Stages of `STEPS` + 1 rows in all, so that every test shares one compiled program of a solver."""
    schedule = objective.stage_schedule(stage_list, layout, np.dtype(dtype))
    assert schedule.is_stage_start.size == STEPS + 1
    return jax.tree.map(jnp.asarray, schedule)


def solve(name, problem, *stage_list, work=None, num_work=None, **settings) -> Solved:
    """Everybody by the solver, or with Levenberg-Marquardt those in `work`."""
    inputs = (
        problem.model, problem.prior, problem.evidence,
        schedule_of(problem.layout, stage_list, problem.start.dtype), problem.orient, problem.start,
    )  # fmt: skip
    if name != "levenberg_marquardt":
        return Solved.of(FIRST_ORDER[name](*inputs))
    line = np.zeros(len(problem.start), np.int32)
    work = np.arange(len(problem.start)) if work is None else np.asarray(work, int)
    line[: len(work)] = work
    num_work = len(work) if num_work is None else num_work
    settings = {"slots": COUNT, "is_one_by_one": True, **settings}
    return Solved.of(_LEVENBERG_MARQUARDT(*inputs, line, np.int32(num_work), **settings))


@pytest.fixture(scope="module")
def solved(problem):
    """Solutions of one long stage, each computed once."""
    return functools.lru_cache(maxsize=8)(lambda name, slots=COUNT: solve(name, problem, ALL, slots=slots))


def assert_identical(ours: Solved, theirs: Solved):
    for field in dataclasses.fields(ours):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)


def assert_same(ours: Solved, theirs: Solved, tolerance=TOLERANCE_ROW):
    np.testing.assert_allclose(ours.vector, theirs.vector, atol=tolerance)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=tolerance)


def spoilt(problem, person, bad) -> Problem:
    evidence = dataclasses.replace(
        problem.evidence, keypoints_2d=problem.evidence.keypoints_2d.at[person].set(jnp.float32(bad))
    )
    return dataclasses.replace(problem, evidence=evidence)


# ---- every solver ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_lowers_the_cost_of_everybody(solved, name):
    made = solved(name)
    assert np.isfinite(made.vector).all()
    assert (made.cost < 0.5 * made.history[:, 0]).all()
    assert made.history.shape == (COUNT, STEPS + 1)


def test_all_solvers_minimise_the_same_cost(solved):
    for name in FIRST_ORDER:
        np.testing.assert_allclose(
            solved(name).history[:, 0], solved("levenberg_marquardt").history[:, 0], rtol=1e-4, err_msg=name
        )


_RESIDUALS = jax.jit(objective.residuals)


@pytest.mark.parametrize("name", SOLVERS)
def test_final_cost_is_that_of_the_vector_returned_under_the_last_weights(problem, solved, name):
    # The second of two stages weighs the prior a hundredfold: its lowest cost lies far above that of the first.
    heavy = (stages.Stage(iterations=4), stages.Stage(iterations=4, pose_prior=10.0, shape_prior=10.0))
    for made, stage_list in ((solved(name), (ALL,)), (solve(name, problem, *heavy), heavy)):
        last = jax.tree.map(lambda row: jnp.repeat(row[-1:], COUNT, 0), schedule_of(problem.layout, stage_list))
        residuals = _RESIDUALS(
            problem.model, problem.prior, problem.evidence, last, problem.orient, jnp.asarray(made.vector)
        )
        np.testing.assert_allclose(objective.cost(residuals), made.cost, rtol=1e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_cost_never_rises_within_a_stage(problem, name):
    first, second = stages.Stage(iterations=4, robust_scale=0.5), stages.Stage(iterations=4, pose_prior=3.0)
    made = solve(name, problem, first, second)
    for part in np.split(made.history, [5], axis=1):
        for costs in part:
            assert (np.diff(costs[np.isfinite(costs)]) <= 0).all()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("group", ["transl", "global_orient", "betas", "body_pose"])
def test_stage_moves_its_groups_and_leaves_the_others_bit_identical(problem, name, group):
    start = np.asarray(problem.start)
    vector = solve(name, problem, stages.Stage(iterations=STEPS, free=(group,))).vector
    is_free = problem.layout.group_mask((group,))
    np.testing.assert_array_equal(vector[:, ~is_free], start[:, ~is_free])
    assert (vector[:, is_free] != start[:, is_free]).any(-1).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_stage_that_frees_less_than_the_one_before_holds_the_rest(problem, name):
    wide = stages.Stage(iterations=4)
    narrow = stages.Stage(iterations=4, free=("transl",))
    narrower = stages.Stage(iterations=4, free=("betas",))
    after_transl = solve(name, problem, wide, narrow).vector
    after_betas = solve(name, problem, wide, narrower).vector
    # Entries frozen in both second stages come from the same first stage.
    is_held = problem.layout.group_mask(("global_orient", "body_pose"))
    np.testing.assert_array_equal(after_transl[:, is_held], after_betas[:, is_held])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_bad_person_changes_nothing_for_the_others(problem, solved, name, bad):
    made, other = solved(name), solve(name, spoilt(problem, 1, bad), ALL)
    kept = [0, *range(2, COUNT)]
    assert_identical(other.rows(kept), made.rows(kept))
    assert np.isfinite(other.vector[1]).all(), "the best finite vector is the start"


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_the_people_does_not_matter(problem, solved, name):
    order = np.random.default_rng(4).permutation(COUNT)
    assert_same(solve(name, problem.rows(order), ALL), solved(name).rows(order))


def test_unmeasured_entries_stay_at_the_mean_of_the_prior(problem):
    evidence = dataclasses.replace(problem.evidence, weight_2d=jnp.zeros_like(problem.evidence.weight_2d))
    made = solve("levenberg_marquardt", dataclasses.replace(problem, evidence=evidence), ALL)
    np.testing.assert_allclose(made.vector[:, 6:], np.tile(problem.prior.mean, (COUNT, 1)), atol=1e-3)
    np.testing.assert_array_equal(made.vector[:, :6], np.asarray(problem.start[:, :6]))
    np.testing.assert_allclose(made.cost, 0, atol=1e-3)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_solvers_have_converged_where_the_cost_hardly_fell_any_more(problem, name):
    threshold = 0.01
    made = solve(name, problem, stages.Stage(iterations=STEPS, converged_below=threshold))
    fell = (made.history[:, -4] - made.cost) / made.history[:, -4]
    np.testing.assert_array_equal(made.is_converged, fell <= 10 * threshold)
    assert solve(name, problem, stages.Stage(iterations=STEPS, converged_below=1.0)).is_converged.all()
    assert not solve(name, problem, stages.Stage(iterations=STEPS, converged_below=0.0)).is_converged.any()


def test_lbfgs_comes_as_low_as_levenberg_marquardt(solved, figure):
    ratio = solved("lbfgs").cost / solved("levenberg_marquardt").cost
    steps = f"{LBFGS_STEPS * STEPS} steps of L-BFGS over that after {STEPS} of Levenberg-Marquardt"
    figure(f"solvers         cost after {steps}: median {np.median(ratio):.2f}, most {ratio.max():.2f}")
    assert np.median(ratio) < 1.5


# ---- slots of Levenberg-Marquardt -----------------------------------------------------------------------------


@pytest.mark.slow
def test_neither_the_number_of_slots_nor_how_they_are_solved_matters(figure):
    # In float32 rounding alone sends people who are still far from a minimum on slightly different ways.
    with jax.enable_x64(True):
        exact = make_problem(np.float64)
        few, many, at_once = (
            solve("levenberg_marquardt", exact, ALL, **settings)
            for settings in ({"slots": FEW_SLOTS}, {}, {"is_one_by_one": False})
        )
    difference = np.abs(few.vector - many.vector).max()
    figure(f"slots           {FEW_SLOTS} slots against {COUNT}, float64: vectors differ by {difference:.1e}")
    assert few.vector.dtype == np.float64
    assert_same(few, many, TOLERANCE_64)
    assert_same(at_once, many, TOLERANCE_64)
    np.testing.assert_array_equal(few.is_converged, many.is_converged)
    np.testing.assert_array_equal(np.isnan(few.history), np.isnan(many.history))


def test_order_of_the_line_does_not_matter(problem, solved):
    order = np.random.default_rng(6).permutation(COUNT)
    made = solve("levenberg_marquardt", problem, ALL, work=order, slots=FEW_SLOTS)
    assert_same(made, solved("levenberg_marquardt", FEW_SLOTS))


def assert_untouched(problem, made: Solved, rows):
    np.testing.assert_array_equal(made.vector[rows], np.asarray(problem.start)[rows])
    assert np.isposinf(made.cost[rows]).all()
    assert np.isnan(made.history[rows]).all()
    assert not made.is_converged[rows].any()


@pytest.mark.parametrize("slots", [FEW_SLOTS, COUNT])
def test_starts_that_are_no_work_are_left(problem, solved, slots):
    work, left = [4, 7, 1], [0, 2, 3, 5, 6, 8]
    made = solve("levenberg_marquardt", problem, ALL, work=work, slots=slots)
    assert_untouched(problem, made, left)
    assert_same(made.rows(work), solved("levenberg_marquardt", slots).rows(work))


@pytest.mark.parametrize("slots", [FEW_SLOTS, COUNT])
def test_no_work_is_done_at_once(problem, slots):
    made = solve("levenberg_marquardt", problem, ALL, num_work=0, slots=slots)
    assert_untouched(problem, made, slice(None))


@pytest.mark.parametrize("slots", [FEW_SLOTS, COUNT])
def test_slots_beyond_the_work_stay_empty(problem, solved, slots):
    made = solve("levenberg_marquardt", problem, ALL, num_work=1, slots=slots)
    assert_untouched(problem, made, slice(1, None))
    assert_same(made.rows([0]), solved("levenberg_marquardt", slots).rows([0]))


def test_start_belongs_to_the_person_of_its_index_modulo_the_people(problem, solved):
    twice = dataclasses.replace(
        problem, orient=jnp.concatenate([problem.orient] * 2), start=jnp.concatenate([problem.start] * 2)
    )
    made = solve("levenberg_marquardt", twice, ALL)
    for rows in (slice(0, COUNT), slice(COUNT, None)):
        assert_same(made.rows(rows), solved("levenberg_marquardt"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("slots", [FEW_SLOTS, COUNT])
def test_bad_person_in_the_line_changes_nothing_for_the_others_bit_for_bit(problem, solved, slots, bad):
    made = solved("levenberg_marquardt", slots)
    other = solve("levenberg_marquardt", spoilt(problem, 1, bad), ALL, slots=slots)
    kept = [0, *range(2, COUNT)]
    assert_identical(other.rows(kept), made.rows(kept))
    np.testing.assert_array_equal(other.vector[1], np.asarray(problem.start)[1])
    assert not other.is_converged[1]


@pytest.mark.parametrize("slots", [FEW_SLOTS, COUNT])
def test_who_has_converged_stops_and_the_others_go_on(problem, solved, slots):
    done = solved("levenberg_marquardt").vector
    polished = solve("levenberg_marquardt", dataclasses.replace(problem, start=jnp.asarray(done)), ALL).vector
    start = problem.start.at[2].set(polished[2])
    made = solve("levenberg_marquardt", dataclasses.replace(problem, start=start), ALL, slots=slots)
    rows = np.isfinite(made.history).sum(1)
    assert made.is_converged[2]
    assert rows[2] == 3, "the start and two small steps"
    np.testing.assert_array_equal(np.isfinite(made.history), np.arange(STEPS + 1) < rows[:, None])
    others = np.delete(rows, 2)
    assert (others > 3).all()
    kept = [0, 1, *range(3, COUNT)]
    assert_same(made.rows(kept), solved("levenberg_marquardt", slots).rows(kept))


def test_converged_means_two_small_steps_in_a_row(problem):
    threshold = 0.02
    made = solve("levenberg_marquardt", problem, stages.Stage(iterations=STEPS, converged_below=threshold))
    assert made.is_converged.any()
    for history, is_converged in zip(made.history, made.is_converged, strict=True):
        cost = history[np.isfinite(history)]
        # A step that was not taken leaves the cost as it was; whether it counts as small is its prediction's matter.
        is_taken = np.diff(cost) < 0
        is_small = -np.diff(cost) <= threshold * cost[:-1]
        assert is_small[-2:].all() or not is_converged
        both = is_small[:-1] & is_small[1:] & is_taken[:-1] & is_taken[1:]
        assert not both[:-1].any(), "it would have ended there"


def test_stage_that_ends_early_hands_over_to_the_next(problem):
    loose = stages.Stage(iterations=5, converged_below=1.0)
    strict = stages.Stage(iterations=3, pose_prior=2.0, converged_below=0.0)
    history = solve("levenberg_marquardt", problem, loose, strict).history
    # Any step is small to the first stage: two of them, and three rows are not needed.
    np.testing.assert_array_equal(np.isfinite(history), np.tile([1, 1, 1, 0, 0, 0, 1, 1, 1, 1], (COUNT, 1)))


def test_nothing_ends_early_where_no_step_is_small(problem):
    made = solve("levenberg_marquardt", problem, stages.Stage(iterations=STEPS, converged_below=0.0))
    assert np.isfinite(made.history).all()
    assert not made.is_converged.any()
