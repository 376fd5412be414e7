"""Labels of one body as those of another: the same people in camera and world, with the new body's betas."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.body import load, placement
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels import schema, store
from hardmo_jax.pipelines.exports import convert_labels, export_content, export_labels, label_motions
from hardmo_jax.pipelines.exports.export_options import ExportOptions
from hardmo_jax.pipelines.exports.label_motions import MotionOptions
from hardmo_jax.pipelines.label_rows import name_of_body, params_of_labels
from tests.pipelines.exports.test_label_motions import POSITION, TILT, motion, row_of

#: Bodies of one mesh: what remains is what fingers of 24 joints cannot hold, and rounding.
MOST_APART = 0.002


@pytest.fixture(scope="module")
def bodies():
    return load.open_body(), load.open_body(view="smpl")


@pytest.fixture(scope="module")
def found(bodies):
    """Two people of a clip with a shape each, seen by a tilted camera, the fingers at rest."""
    source, target = bodies
    rng = np.random.default_rng(0)
    rows = []
    for track in range(2):
        params = motion(source, rng, 4)
        flat = np.zeros((4, 15, 3), np.float32)
        betas = np.array(params.betas)
        betas[1] += 0.05  # a label beside the shape of its track
        params = dataclasses.replace(params, left_hand_pose=flat, right_hand_pose=flat, betas=betas)
        world = placement.moved(source, params, TILT.astype(np.float32), POSITION.astype(np.float32))
        rows += [row_of(source, params, place, world=world, track_id=track) for place in range(4)]
    return rows, convert_labels.convert_labels(rows, source, target)


def test_people_are_where_they_were_and_labels_say_whose_body_it_is(bodies, found):
    source, target = bodies
    rows, made = found
    assert made.matched_by == "mesh"
    assert made.mean_error.max() < MOST_APART
    for row, before in zip(made.rows, rows, strict=True):
        row.validate()
        assert (row.body_model, row.body_model_sha256) == (name_of_body(target), target.checksum)
        assert (row.label_id, row.status, row.frame_index) == (before.label_id, before.status, before.frame_index)
        assert row.left_hand_pose is None
        assert row.smpl_hand_pose is not None
    schema.labels_to_table(made.rows)
    ours = np.asarray(target(params_of_labels(made.rows, target)).joints)[:, :22]
    theirs = np.asarray(source(params_of_labels(rows, source)).joints)[:, :22]
    assert np.linalg.norm(ours - theirs, axis=-1).max() < 0.01  # one label is not of its track's shape
    # One shape a track.
    betas = np.stack([row.betas for row in made.rows]).reshape(2, 4, -1)
    np.testing.assert_array_equal(betas, betas[:, :1].repeat(4, axis=1))
    assert np.abs(betas[0, 0] - betas[1, 0]).max() > 0.1


def test_the_world_and_the_camera_stay_as_they_were(bodies, found):
    rows, made = found
    scenes = [
        label_motions.scenes_of_labels(own, body, MotionOptions()).scenes[0]
        for own, body in ((rows, bodies[0]), (made.rows, bodies[1]))
    ]
    np.testing.assert_allclose(scenes[1].camera.position, scenes[0].camera.position, atol=1e-3)
    np.testing.assert_allclose(scenes[1].camera.rotation, scenes[0].camera.rotation, atol=1e-4)
    for before, after in zip(scenes[0].tracks, scenes[1].tracks, strict=True):
        theirs, ours = (np.asarray(body(track.params).joints)[:, :22]
                        for body, track in zip(bodies, (before, after), strict=True))  # fmt: skip
        np.testing.assert_allclose(ours, theirs, atol=MOST_APART)


def test_motion_of_files_is_converted_and_frames_that_cannot_be_are_told(bodies, found):
    source, target = bodies
    rows, _ = found
    scene = label_motions.scenes_of_labels(rows, source, MotionOptions()).scenes[0]
    converted, errors, matched_by = convert_labels.convert_scene(scene, target)
    assert (matched_by, errors.shape) == ("mesh", (8,))
    assert errors.max() < MOST_APART
    assert converted.body is target
    assert [track.num_frames for track in converted.tracks] == [4, 4]
    spoilt = np.array(scene.tracks[0].params.transl)
    spoilt[2] = np.nan
    track = dataclasses.replace(scene.tracks[0], params=dataclasses.replace(scene.tracks[0].params, transl=spoilt))
    with pytest.raises(ExportError, match="1 of 8 frames cannot be converted to open_body_smpl"):
        convert_labels.convert_scene(dataclasses.replace(scene, tracks=(track, *scene.tracks[1:])), target)


def test_labels_are_converted_before_they_are_written(bodies, found, tmp_path, monkeypatch):
    rows, made = found
    monkeypatch.setattr(export_content, "_body_called", lambda name: bodies[1])
    store.write_labels(tmp_path / "run" / "labels.parquet", rows)
    done = export_labels.export_labels(
        tmp_path / "run", tmp_path / "out", ["amass", "hf"], options=ExportOptions(to_body="theirs")
    )
    assert any(
        note.startswith("converted from open_body_smplh to open_body_smpl by all vertices") for note in done.notes
    )
    (shard,) = (tmp_path / "out" / "hf" / "data").glob("*.parquet")
    written = store.read_labels(shard).rows
    assert {row.body_model for row in written} == {"open_body_smpl"}
    np.testing.assert_allclose(written[0].body_pose, made.rows[0].body_pose, atol=1e-5)
    assert not (tmp_path / "out" / "converted").exists()
