"""People with known parameters are found again from their noise-free keypoints."""

import dataclasses

import numpy as np
import pytest

import hardmo_jax as hm
from tests.fitting import synthetic_people
from tests.reference import smpl_files

#: The bounds the issue sets.
JOINTS_FROM_3D_MM, PIXELS_FROM_2D, JOINTS_FROM_BOTH_MM = 5.0, 1.0, 15.0


def figures(figure, title, people, result):
    """Mean joint error in mm and mean reprojection in pixels (None from 3D alone), recorded."""
    joints = 1e3 * synthetic_people.joint_errors(people.body, result.params, people.params)
    pixels = None
    text = f"{title:32s} joints {joints.mean():6.2f} mm, worst person {joints.mean(-1).max():6.2f}"
    if result.keypoints_2d is not None:
        distance = np.linalg.norm(np.asarray(result.keypoints_2d) - people.pixels, axis=-1)
        distance = np.where(people.confidence > 0, distance, np.nan)
        pixels = np.nanmean(distance)
        text += f"; reprojection {pixels:5.2f} px, worst person {np.nanmean(distance, -1).max():5.2f}"
    counts = np.bincount(np.asarray(result.status), minlength=len(hm.FitStatus))
    text += "; " + ", ".join(f"{status.name} {counts[status]}" for status in hm.FitStatus if counts[status])
    figure(f"recovery        {text}")
    return joints.mean(), pixels


def test_joints_are_recovered_from_3d_keypoints(people, fit_people, figure):
    joints_mm, _ = figures(figure, "smplh openpose67 3D", people, fit_people("3d"))
    assert joints_mm < JOINTS_FROM_3D_MM


def test_keypoints_are_explained_in_the_picture(people, fit_people, figure):
    _, pixels = figures(figure, "smplh openpose67 2D", people, fit_people("2d"))
    assert pixels < PIXELS_FROM_2D


def test_joints_are_recovered_from_both(people, fit_people, figure):
    joints_mm, pixels = figures(figure, "smplh openpose67 2D and 3D", people, fit_people("2d", "3d"))
    assert joints_mm < JOINTS_FROM_BOTH_MM
    assert pixels < PIXELS_FROM_2D


def test_every_easy_fit_ends_well(fit_people):
    for kinds in (("2d",), ("3d",), ("2d", "3d")):
        assert set(np.asarray(fit_people(*kinds).status)) <= {hm.FitStatus.CONVERGED, hm.FitStatus.MAX_STEPS}
    assert (np.asarray(fit_people("2d", "3d").status) == hm.FitStatus.CONVERGED).all()


@pytest.mark.slow
def test_smpl_view_is_recovered_by_its_24_joints(figure):
    people = synthetic_people.draw(hm.open_body(view="smpl"), "smpl24")
    joints_mm, _ = figures(figure, "smpl smpl24 3D", people, hm.fit(people.body, people.observe("3d")))
    assert joints_mm < JOINTS_FROM_3D_MM
    _, pixels = figures(figure, "smpl smpl24 2D", people, hm.fit(people.body, people.observe("2d")))
    assert pixels < PIXELS_FROM_2D
    joints_mm, _ = figures(figure, "smpl smpl24 2D and 3D", people, hm.fit(people.body, people.observe("2d", "3d")))
    assert joints_mm < JOINTS_FROM_BOTH_MM


def test_smpl_file_with_pose_blend_shapes_is_recovered(tmp_path, figure):
    model = smpl_files.make_model("smpl", num_vertices=smpl_files.FULL_SIZE, seed=6)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "model.npz", model))
    assert body.landmarks
    assert body.pose_basis_planar is not None
    people = synthetic_people.draw(body, "smpl24")
    joints_mm, _ = figures(figure, "SMPL file smpl24 3D", people, hm.fit(body, people.observe("3d")))
    assert joints_mm < JOINTS_FROM_3D_MM


def test_body_of_known_shape_is_recovered(figure):
    # Regression: a body without shape coefficients ended in "zero-size array to reduction operation max".
    people = synthetic_people.draw(hm.open_body(view="smpl"), "smpl24", count=1)
    known = people.body.shaped(people.params.betas[0])
    result = hm.fit(known, people.observe("3d"))
    errors = synthetic_people.joint_errors(known, result.params, people.params.without_shape())
    figure(f"recovery        {'smpl of known shape, 3D':32s} joints {errors.mean() * 1e3:6.2f} mm")
    assert errors.mean() * 1e3 < JOINTS_FROM_3D_MM


def test_smplx_is_recovered_by_wholebody_points_with_the_face(tmp_path, figure):
    # Regression: with the 51 face points the body has so many vertices that compiled points were wrong.
    stored = smpl_files.make_model("smplx", num_vertices=smpl_files.FULL_SIZES["smplx"], num_betas=20, seed=6)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPLX_NEUTRAL.npz", stored))
    people = synthetic_people.draw(body.without_expression(), "coco_wholebody133", count=4)
    result = hm.fit(body, people.observe("3d"))
    theirs = dataclasses.replace(people.params, expression=result.params.expression)
    errors = synthetic_people.joint_errors(body, result.params, theirs)[:, :22]
    figure(f"recovery        {'SMPL-X file wholebody 3D':32s} body joints {errors.mean() * 1e3:6.2f} mm")
    assert (np.asarray(result.status) == hm.FitStatus.CONVERGED).all()
    assert errors.mean() * 1e3 < JOINTS_FROM_3D_MM


@pytest.mark.parametrize("kinds", [("2d",), ("3d",), ("2d", "3d")])
def test_result_is_in_the_axes_of_the_camera(people, fit_people, kinds):
    result = fit_people(*kinds)
    distance = np.asarray(result.params.transl)[:, 2]
    assert (distance > 1).all()
    if kinds == ("2d", "3d"):  # the distance is known where both are
        np.testing.assert_allclose(distance, np.asarray(people.params.transl)[:, 2], rtol=0.02)
