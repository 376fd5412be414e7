"""Stages and options as values: checked at once, hashable, and laid out one row an evaluation."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import objective, stages, variables


def schedule_of(*rows, num_rows=None):
    layout = variables.Layout.of(hm.open_body(view="smpl"))
    return layout, objective.stage_schedule(rows, layout, np.dtype(np.float32), num_rows=num_rows)


def test_schedule_has_one_row_more_than_steps_for_each_stage():
    first = stages.Stage(iterations=2, free=("transl",), pose_prior=3.0, robust_scale=0.5)
    second = stages.Stage(
        iterations=3, keypoints_3d=0.25, shape_prior=4.0, joint_limits=5.0, keypoints_2d=6.0, hands=0.5,
        converged_below=0.01,
    )  # fmt: skip
    layout, schedule = schedule_of(first, second)
    np.testing.assert_array_equal(schedule.is_stage_start, [1, 0, 0, 1, 0, 0, 0])
    for name in (
        "keypoints_2d", "keypoints_3d", "hands", "pose_prior", "shape_prior", "joint_limits", "robust_scale",
        "converged_below",
    ):  # fmt: skip
        expected = [getattr(first, name)] * 3 + [getattr(second, name)] * 4
        np.testing.assert_array_equal(getattr(schedule, name), np.array(expected, np.float32), err_msg=name)
    np.testing.assert_array_equal(schedule.free[:3], np.tile(layout.group_mask(("transl",)), (3, 1)))
    np.testing.assert_array_equal(schedule.free[3:], 1)


def test_every_row_knows_the_end_of_its_stage_and_the_start_of_the_next():
    _, schedule = schedule_of(*(stages.Stage(iterations=count) for count in (2, 1, 3)))
    np.testing.assert_array_equal(schedule.is_stage_start, [1, 0, 0, 1, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(schedule.is_last, [0, 0, 1, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(schedule.next_stage, [3, 3, 3, 5, 5, 9, 9, 9, 9])
    assert np.issubdtype(schedule.next_stage.dtype, np.integer)


def test_padding_repeats_the_weights_of_the_last_stage_after_its_last_row():
    first, second = stages.Stage(iterations=1, pose_prior=3.0), stages.Stage(iterations=2, free=("betas",))
    layout, schedule = schedule_of(first, second, num_rows=8)
    assert {len(leaf) for leaf in jax.tree.leaves(schedule)} == {8}
    np.testing.assert_array_equal(schedule.is_stage_start, [1, 0, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(schedule.is_last, [0, 1, 0, 0, 1, 0, 0, 0])
    # Whoever ends the last stage goes past the padding.
    np.testing.assert_array_equal(schedule.next_stage, [2, 2, 8, 8, 8, 8, 8, 8])
    np.testing.assert_array_equal(schedule.pose_prior, [3, 3, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(schedule.free[2:], np.tile(layout.group_mask(("betas",)), (6, 1)))


def test_padding_to_the_length_itself_changes_nothing():
    rows = (stages.Stage(iterations=1), stages.Stage(iterations=2))
    for ours, theirs in zip(*(jax.tree.leaves(schedule_of(*rows, num_rows=n)[1]) for n in (5, None)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("group", stages.GROUPS)
def test_each_group_can_be_freed_alone(group):
    layout, schedule = schedule_of(stages.Stage(iterations=1, free=(group,)))
    np.testing.assert_array_equal(schedule.free[0], layout.group_mask((group,)))


def test_unknown_group_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown groups \['orient'\]; known: transl, global_orient"):
        stages.Stage(iterations=3, free=("transl", "orient"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "`iterations` must be at least 1"),
        ({"robust_scale": 0.0}, "`robust_scale` must be positive"),
        ({"converged_below": -1e-4}, "`converged_below` must not be negative"),
    ],
)
def test_impossible_stages_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stages.Stage(**{"iterations": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"yaw_starts": 0}, "`yaw_starts` must be at least 1"),
        ({"refine": ()}, "at least one stage each"),
        ({"explore": ()}, "at least one stage each"),
        ({"keypoints_2d_spread": 0.0}, "spreads must be positive"),
        ({"keypoints_3d_spread": -1.0}, "spreads must be positive"),
        ({"joint_limit_spread": 0.0}, "spreads must be positive"),
        ({"max_batch": 0}, "`max_batch` must be at least 1"),
        ({"slots": 0}, "`slots` must be at least 1"),
        ({"adam_steps_per_iteration": 0}, "`adam_steps_per_iteration` must be at least 1"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stages.FitOptions(**changes)


def test_unknown_solver_is_refused_by_name():
    # Past the type check that only runs in tests: a user's typo reaches `__post_init__`.
    options = stages.FitOptions()
    object.__setattr__(options, "solver", "gauss_newton")
    with pytest.raises(ValueError, match="unknown solver 'gauss_newton'; known: levenberg_marquardt, adam, lbfgs"):
        options.__post_init__()


def test_options_are_values():
    same, other = stages.FitOptions(), stages.FitOptions(yaw_starts=8)
    assert same == stages.FitOptions()
    assert hash(same) == hash(stages.FitOptions())
    assert same != other
    with pytest.raises(dataclasses.FrozenInstanceError):
        same.yaw_starts = 8
