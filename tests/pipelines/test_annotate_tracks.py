"""Tracks of a video: where they are cut, what is filled in, and what is said of it."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.geometry import cameras
from hardmo_jax.perception import camera_motion, video, video_stream
from hardmo_jax.perception.quality import BoxQuality
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import (
    annotate,
    annotate_summary,
    annotate_takes,
    annotate_tracks,
    labels_of_fits,
    perceiving,
    sightings,
)
from hardmo_jax.pipelines.annotate_drawing import OutputOptions
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions, cut_track, fit_tracks, frame_rate
from hardmo_jax.pipelines.box_quality import LeftOut
from hardmo_jax.pipelines.sightings import FILLED_SOURCE, Picture, Sighting
from hardmo_jax.pipelines.stage_rates import StageRate
from hardmo_jax.recovery import recover_motion
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import tracks
from tools._annotate_summary import print_summary

WIDTH, HEIGHT, RATE = 1280, 720, 30.0
FRAMES = 16
START = StartOptions(second_look=False)
MOTION = MotionOptions(window_frames=16, overlap_frames=4)


SEEN_WELL = BoxQuality(
    height_pixels=300.0, sharpness=2.0, truncated_share=0.0, occluded_share=0.0, num_points=17, reasons=()
)


def picture(position, seconds=None):
    return Picture(
        position=position, source_path=pathlib.Path("clip.mp4"), source_sha256="0" * 64, frame_index=position,
        time_seconds=position / RATE if seconds is None else seconds, width=WIDTH, height=HEIGHT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def walk(body):
    """Sightings of somebody who moves, one a frame."""
    track = tracks.make_track(body, frames=FRAMES)
    layout = layouts.get_layout("openpose67")
    model, is_supported = landmarks.point_model(body, layout)
    points = np.asarray(model(track.params()))
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    pixels = np.asarray(cameras.project_points(camera, points))
    return [sighting(at, pixels[at], is_supported.astype(np.float32)) for at in range(FRAMES)]


def sighting(position, pixels, confidence, track_id=3, seconds=None):
    kept = pixels[confidence > 0]
    return Sighting(
        picture=picture(position, seconds), track_id=track_id, keypoints_2d=pixels.astype(np.float32),
        confidence=confidence, keypoints_3d=None, confidence_3d=None,
        bbox=np.concatenate([kept.min(0), kept.max(0)]).astype(np.float32), score=0.9, source="blazepose",
        quality=SEEN_WELL,
    )  # fmt: skip


def shifted(one, by):
    by = np.broadcast_to(np.float32(by), 2)
    return dataclasses.replace(one, keypoints_2d=one.keypoints_2d + by, bbox=one.bbox + np.tile(by, 2))


def scaled(one, by):
    return dataclasses.replace(one, keypoints_2d=one.keypoints_2d * by, bbox=one.bbox * by)


def recover(body, found, pictures=None, **changes):
    settings = {"start": START, "options": VideoFitOptions.of(FROM_LIFTER), "motion": MOTION} | changes
    pictures = pictures or [picture(at) for at in range(FRAMES)]
    return fit_tracks(body, pictures, found, report=lambda *step: None, **settings)


# ---- where tracks are cut ---------------------------------------------------------------------------------------


def test_a_person_who_moves_is_one_piece(walk):
    assert [len(piece) for piece in cut_track(walk)] == [FRAMES]


def test_gaps_are_no_cuts(walk):
    assert [len(piece) for piece in cut_track(walk[:4] + walk[12:])] == [8]


def test_another_place_or_another_size_is_another_scene_or_person(walk):
    side = float(np.max(walk[0].bbox[2:] - walk[0].bbox[:2]))
    jumped = walk[:6] + [shifted(one, 0.5 * side) for one in walk[6:]]
    assert [len(piece) for piece in cut_track(jumped)] == [6, 10]
    grown = walk[:9] + [scaled(one, 2.0) for one in walk[9:]]
    assert [len(piece) for piece in cut_track(grown)] == [9, 7]


def test_two_people_who_change_numbers_are_cut_apart(walk):
    """An identity swap: for some frames the track shows somebody beside."""
    other = [shifted(one, 260.0) for one in walk]
    assert [len(piece) for piece in cut_track(walk[:5] + other[5:10] + walk[10:])] == [5, 5, 6]


def test_a_kick_is_no_cut(walk):
    fast = []
    for at, one in enumerate(walk):
        points = one.keypoints_2d.copy()
        leg = [
            layouts.get_layout("openpose67").index(f"right_{joint}") for joint in ("knee", "ankle", "big_toe", "heel")
        ]
        points[leg] += 200.0 * (at % 2)
        fast.append(dataclasses.replace(one, keypoints_2d=points))
    assert len(cut_track(fast)) == 1


def test_time_that_is_missing_is_a_cut_and_uneven_time_is_none(walk):
    uneven = [dataclasses.replace(one, picture=picture(at, at / RATE + 0.01 * (at % 2))) for at, one in enumerate(walk)]
    assert len(cut_track(uneven)) == 1
    late = [dataclasses.replace(one, picture=picture(at, at / RATE + 5.0 * (at > 7))) for at, one in enumerate(walk)]
    assert [len(piece) for piece in cut_track(late)] == [8, 8]


def test_few_confident_points_say_nothing_of_jumps(walk):
    doubtful = [dataclasses.replace(one, confidence=0.1 * one.confidence) for one in walk]
    assert len(cut_track(doubtful[:8] + [shifted(one, 400.0) for one in doubtful[8:]])) == 1


def test_a_doubtful_frame_does_not_hide_a_cut(walk):
    """People are exchanged behind each other, where keypoints are unsure."""
    dim = dataclasses.replace(walk[6], confidence=0.1 * walk[6].confidence)
    other = [shifted(one, 500.0) for one in walk[7:]]
    assert [len(piece) for piece in cut_track([*walk[:6], dim, *other])] == [7, 9]


def test_who_comes_back_five_times_as_large_is_another(walk):
    assert len(cut_track([walk[0], scaled(walk[15], 5.0)])) == 2


def test_frame_rate_is_that_of_the_usual_step():
    assert frame_rate([picture(at) for at in range(9)]) == pytest.approx(RATE)
    assert frame_rate([picture(at, at / 60 + (at > 4)) for at in range(9)]) == pytest.approx(60)
    assert frame_rate([dataclasses.replace(picture(0), time_seconds=None)]) == 25.0


# ---- what is fitted ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_gap(body, walk):
    """Nobody is found in three frames; a second person is there in the first two only."""
    other = [dataclasses.replace(shifted(one, 150.0), track_id=8) for one in walk[:2]]
    return recover(body, [*other, *walk[:6], *walk[9:]])


def test_frames_without_the_person_are_filled_in_and_say_so(with_gap):
    of_first = [at for at, one in enumerate(with_gap.sightings) if one.track_id == 3]
    assert [with_gap.sightings[at].picture.position for at in of_first] == list(range(FRAMES))
    for at in of_first:
        one, status = with_gap.sightings[at], FitStatus(int(with_gap.result.status[at]))
        is_gap = one.picture.position in (6, 7, 8)
        assert (status is FitStatus.FILLED) == is_gap
        assert (one.source == FILLED_SOURCE) == is_gap
        assert (one.quality is None) == is_gap
        assert (one.confidence.max() == 0) == is_gap
        assert np.isfinite(with_gap.result.params.body_pose[at]).all()
        inside = with_gap.result.keypoints_2d[at][:15]
        assert (inside >= one.bbox[:2] - 20).all()
        assert (inside <= one.bbox[2:] + 20).all()


def test_exchanged_sides_are_not_said_of_frames_in_which_nobody_was_found(walk):
    lost = dataclasses.replace(walk[0], source=FILLED_SOURCE)
    order = np.tile(np.arange(67)[::-1], (2, 1))
    found = sightings.as_read([walk[0], lost], order)
    assert [one.source for one in found] == ["blazepose, sides exchanged", FILLED_SOURCE]


@pytest.fixture(scope="module")
def summary(body, with_gap):
    """Of one person with three frames filled in, of which one is said to be no evidence, and another of two frames."""
    status = np.array(with_gap.result.status)
    lost = next(at for at, one in enumerate(with_gap.sightings) if one.picture.position == 7)
    status[lost] = FitStatus.NO_EVIDENCE
    result = dataclasses.replace(with_gap.result, status=status)
    clip = pathlib.Path("clip.mp4")
    media = video.Media(path=clip, kind="video", paths=(clip,), max_pixels=1)
    rows = labels_of_fits.to_labels(
        with_gap.sightings, result, None, body, media, OutputOptions(), origin={}, frames_per_second=RATE
    )
    return annotate_summary.summarise([picture(at) for at in range(FRAMES)], list(map(annotate_summary.note_of, rows)))


def test_frames_that_were_filled_in_are_not_people_who_were_seen(summary):
    assert summary.num_people == FRAMES - 3 + 2
    assert (summary.num_filled, summary.num_unfilled) == (2, 1)
    assert sum(summary.status_counts.values()) == summary.num_people
    assert "FILLED" not in summary.status_counts
    assert summary.num_tracks == 2
    assert not any("NO_EVIDENCE" in phrase for phrase in summary.worst), "there is nobody to look at"


def test_the_table_counts_them_apart(summary, capsys):
    print_summary(summary, "out")
    printed = capsys.readouterr().out
    assert f"{FRAMES - 1} people in {FRAMES} frames" in printed
    assert "not seen in between: 2 filled in, 1 not" in printed


def test_the_table_says_in_one_line_who_is_seen_badly_and_who_was_left_out(summary, capsys):
    print_summary(summary, "out")
    assert f"seen badly, of {summary.num_people} labels: nobody" in capsys.readouterr().out
    left_out = LeftOut(num_people=3, by_reason={"small": 1, "few_points": 2})
    changed = dataclasses.replace(summary, reason_counts={"blurred": 2, "truncated": 1}, left_out=left_out)
    print_summary(changed, "out")
    told = capsys.readouterr().out
    assert f"seen badly, of {summary.num_people} labels: 2 blurred, 1 truncated" in told
    assert "3 people were left out (1 small, 2 few points)" in told


def test_the_usual_status_of_videos_is_said_to_be_usable(summary, capsys):
    print_summary(dataclasses.replace(summary, status_counts={"MAX_STEPS": 40}), "out")
    assert "max_steps is usable" in capsys.readouterr().out
    print_summary(dataclasses.replace(summary, status_counts={"CONVERGED": 40}), "out")
    assert "max_steps" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "turned", "phrase", "unsaid"),
    [
        ("file:openpose25", "when_empty", "files of keypoints hold nobody", "turned"),
        ("blazepose", "never", "--config.perception.turned=when_empty", "keypoints"),
        ("blazepose", "when_empty", "upright or upside down", "turned="),
        ("blazepose", "always", "upright or upside down", "turned="),
    ],
)
def test_advice_is_what_was_not_tried(source, turned, phrase, unsaid):
    advice = annotate.advice_if_nobody(source, PerceptionOptions(turned=turned))
    assert phrase in advice
    assert unsaid not in advice


def test_where_nobody_is_advice_is_given_and_where_somebody_is_none(summary, capsys):
    print_summary(dataclasses.replace(summary, advice="crop closer"), "out")
    assert "crop closer" in capsys.readouterr().out
    assert summary.advice is None


def test_rate_of_labels_is_that_of_the_fit():
    """A container of variable rate tells a mean that no two frames have."""
    clip = pathlib.Path("clip.mp4")
    header = video_stream.VideoHeader(
        width=WIDTH, height=HEIGHT, is_mirrored=False, rotation_degrees=0, fps=7.12, frame_count=9, warnings=()
    )
    media = video.Media(path=clip, kind="video", paths=(clip,), max_pixels=1, video=header)
    pictures = [picture(at, at / RATE + 2.0 * (at > 5)) for at in range(9)]
    assert annotate_takes.rate_of_labels(media, pictures, 1) == pytest.approx(RATE)
    assert annotate_takes.rate_of_labels(media, pictures[:1], 1) == 7.12, "one frame has no step"
    assert annotate_takes.rate_of_labels(media, pictures[:1], 2) == 3.56
    rounded = [picture(at, round(at / 7.12, 2)) for at in range(9)]
    assert frame_rate(rounded) != 7.12
    assert annotate_takes.rate_of_labels(media, rounded, 1) == 7.12, "times that are rounded do not tell it better"
    photo = video.Media(path=clip, kind="image", paths=(clip,), max_pixels=1)
    assert annotate_takes.rate_of_labels(photo, pictures, 1) is None


def test_order_is_by_frame_then_by_person_and_one_shape_is_one_track(with_gap):
    order = [(one.picture.position, one.track_id) for one in with_gap.sightings]
    assert order == sorted(order)
    betas = np.asarray(with_gap.result.params.betas)
    of_first = np.array([one.track_id == 3 for one in with_gap.sightings])
    assert np.ptp(betas[of_first], axis=0).max() == 0
    assert np.ptp(betas[~of_first], axis=0).max() > 0, "two frames are too few for a track"


def test_tracks_of_one_frame_are_fitted_as_photos(body, walk):
    found = recover(body, walk[:1], [picture(0)])
    assert FitStatus(int(found.result.status[0])) in (FitStatus.CONVERGED, FitStatus.MAX_STEPS)
    assert found.result.params.betas.shape == (1, 10)


def test_frame_rates_out_of_range_are_fitted_frame_by_frame_with_a_warning(body, walk):
    slow = [dataclasses.replace(one, picture=picture(at, at / 2.0)) for at, one in enumerate(walk[:6])]
    found = recover(body, slow, [one.picture for one in slow])
    assert "every frame was fitted by itself" in found.warnings[0]
    assert np.ptp(np.asarray(found.result.params.betas), axis=0).max() > 0


@pytest.mark.parametrize("rate", [12.0, 120.0])
def test_slow_and_fast_tracks_are_followed(body, walk, rate):
    pictures = [picture(at, at / rate) for at in range(FRAMES)]
    timed = [dataclasses.replace(one, picture=pictures[at]) for at, one in enumerate(walk)]
    found = recover(body, timed, pictures)
    assert not found.warnings
    assert np.ptp(np.asarray(found.result.params.betas), axis=0).max() == 0
    errors = np.asarray(found.result.error_by_part["body"])
    assert np.nanmax(errors) < 0.03
    assert len(found.sightings) == FRAMES


def test_options_for_jobs_are_those_of_a_fit():
    options = VideoFitOptions.of(FROM_LIFTER, temporal=False)
    assert options.refine == FROM_LIFTER.refine
    assert not options.temporal
    weights = annotate_tracks.weights_of_frames(options)
    assert "betas" not in weights.refine[0].free
    assert jax.tree.leaves(weights.part_weights) == jax.tree.leaves(FROM_LIFTER.part_weights)


def test_unsure_moments_are_not_labelled_and_told(walk):
    ghost = dataclasses.replace(walk[5], track_id=8, confidence=0.4 * walk[5].confidence)
    assert perceiving.lasting_people([*walk, ghost], FRAMES) == (walk, [ghost])
    warning = perceiving.unsure_warning([ghost])
    assert "1 unsure" in warning
    assert "frame 5" in warning
    assert perceiving.lasting_people([ghost], 1) == ([ghost], []), "one frame has tracks of one frame"


# ---- cameras that move ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stance(body):
    """Sightings of somebody who stands still, one a frame."""
    params = hm.BodyParams.rest(body, batch=(FRAMES,))
    pose = np.array(params.body_pose)
    for side, way in zip(layouts.SIDES, (-1, 1), strict=True):
        pose[:, body.joint_names.index(f"{side}_shoulder") - 1, 2] = way * 1.2  # arms hang
    places = {"global_orient": np.tile([np.pi, 0.0, 0.0], (FRAMES, 1)), "transl": np.tile([0.0, 0.0, 4.0], (FRAMES, 1))}
    params = dataclasses.replace(params, body_pose=pose, **places)
    model, is_supported = landmarks.point_model(body, layouts.get_layout("openpose67"))
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    pixels = np.asarray(cameras.project_points(camera, np.asarray(model(params))))
    return [sighting(at, pixels[at], is_supported.astype(np.float32)) for at in range(FRAMES)]


@pytest.fixture
def sure(monkeypatch):
    """What is fitted is told to stand for certain: somebody who is this still is nobody whom the network has seen."""

    def recovered(*args, **settings):
        found = recover_motion.recover_motion(*args, **settings)
        return dataclasses.replace(found, stands=np.ones_like(found.stands))

    monkeypatch.setattr(annotate_tracks, "recover_motion", recovered)


def panned(stance, degrees_a_second):
    """What a camera sees that turns to the left."""
    focal_length = float(np.hypot(WIDTH, HEIGHT))
    turned = [focal_length * np.tan(np.radians(degrees_a_second * at / RATE)) for at in range(FRAMES)]
    return [shifted(one, [by, 0.0]) for one, by in zip(stance, turned, strict=True)]


def test_before_a_fixed_camera_feet_are_locked_and_there_is_a_floor(body, stance, sure):
    found = recover(body, stance)
    assert found.ground is not None
    assert not found.warnings


def test_a_camera_that_turns_is_named_by_the_option_that_says_so(body, stance, sure):
    moving = panned(stance, 4.0)
    found = recover(body, moving)
    assert len(found.warnings) == 1
    assert "--config.fit.camera_is_fixed=False" in found.warnings[0]
    told = recover(body, moving, options=VideoFitOptions.of(FROM_LIFTER, camera_is_fixed=False))
    assert not told.warnings
    assert told.ground is None


def test_feet_are_not_held_before_a_camera_that_moves(body, stance):
    columns = list(layouts.get_layout("openpose67").indices(layouts.CONTACT_POINTS))

    def slide(camera_is_fixed):
        options = VideoFitOptions.of(FROM_LIFTER, camera_is_fixed=camera_is_fixed)
        feet = np.asarray(recover(body, panned(stance, 2.0), options=options).result.keypoints_3d)[:, columns]
        return np.linalg.norm(feet[-1] - feet[0], axis=-1).mean()

    assert slide(False) > 1.2 * slide(True)


def path_of(speed, count=FRAMES):
    """Of a camera whose picture moves by so many widths a second."""
    shift = speed * np.arange(count) / RATE
    return camera_motion.CameraPath(
        turn=np.ones(count, complex), shift=shift + 0j, scene=np.zeros(count, int), aspect=HEIGHT / WIDTH
    )


def test_before_a_background_that_moves_feet_are_not_locked(body, stance, sure):
    moving = panned(stance, 4.0)
    found = recover(body, moving, camera_path=path_of(0.08))
    assert not found.camera.is_fixed
    assert found.ground is None
    assert not found.warnings, "it was seen, so nobody has to say it"
    told = recover(body, moving, options=VideoFitOptions.of(FROM_LIFTER, camera_is_fixed=False))
    np.testing.assert_array_equal(found.result.keypoints_3d, told.result.keypoints_3d)


def test_before_a_background_that_stands_still_they_are(body, stance, sure):
    found = recover(body, stance, camera_path=path_of(0.0))
    assert found.camera.is_fixed
    assert found.ground is not None
    assert not found.warnings


def test_who_says_that_the_camera_is_fixed_is_believed(body, stance, sure):
    fixed = VideoFitOptions.of(FROM_LIFTER, camera_is_fixed=True)
    assert recover(body, stance, options=fixed, camera_path=path_of(0.08)).camera.is_fixed


def test_a_background_that_does_not_tell_is_warned_of(body, stance, sure):
    hidden = path_of(0.0)
    hidden = dataclasses.replace(hidden, turn=hidden.turn * np.nan, shift=hidden.shift * np.nan)
    found = recover(body, stance, camera_path=hidden)
    assert found.camera.is_fixed
    assert len(found.warnings) == 1
    assert "does not tell" in found.warnings[0]
    assert "--config.fit.camera_is_fixed=False" in found.warnings[0]
    record = annotate_tracks.camera_record(found.camera)
    assert record["moves"] is None
    assert record["per_frame"] is None, "JSON has no NaN"


@pytest.mark.parametrize(
    ("used", "phrase"),
    [
        (annotate_tracks.CameraUsed(is_fixed=False, motion=None), "camera moves, as was said: feet are not held"),
        (
            annotate_tracks.CameraUsed(is_fixed=False, motion=camera_motion.judge_motion(path_of(0.08), RATE)),
            "camera moves (background: 4 % of the picture's width in 0.5 s",
        ),
        (
            annotate_tracks.CameraUsed(is_fixed=True, motion=camera_motion.judge_motion(path_of(0.0), RATE)),
            "camera stands still (background: 0 % of the picture's width in 0.5 s, 0 % in all): feet are held",
        ),
    ],
)
def test_the_table_says_what_was_found_of_the_camera(summary, used, phrase, capsys):
    print_summary(dataclasses.replace(summary, camera_motion=(used,)), "out")
    assert phrase in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fixed", "phrase"),
    [
        ((True, True), "stands still in 2 of 2 shots: feet are held where they stand (run.json"),
        ((True, False), "in 1 of 2 shots: feet are held where they stand in these alone"),
        ((False, False), "in 0 of 2 shots: feet are not held"),
    ],
)
def test_the_cameras_of_several_shots_are_told_together(summary, fixed, phrase, capsys):
    used = tuple(annotate_tracks.CameraUsed(is_fixed=one, motion=None) for one in fixed)
    print_summary(dataclasses.replace(summary, camera_motion=used), "out")
    assert phrase in capsys.readouterr().out


def test_loading_programs_is_no_rate(summary, capsys):
    stages = tuple(
        StageRate(stage=name, seconds=seconds, frames_per_second=16 / seconds)
        for name, seconds in (("perceive", 4.0), ("warm up", 8.0), ("fit", 2.0))
    )
    print_summary(dataclasses.replace(summary, stages=stages, seconds=8.0), "out")
    told = capsys.readouterr().out
    assert "the slowest stage is perceive; all together were 0.50 times as fast" in told
    assert "once" in told


def test_feet_on_several_floors_are_no_floor_and_the_option_is_named(body, stance, sure):
    above = [dataclasses.replace(shifted(one, [0.0, -300.0]), track_id=8) for one in stance]
    found = recover(body, [*stance, *above])
    assert found.ground is None
    assert len(found.warnings) == 1
    assert "no floor" in found.warnings[0]
    assert "--config.fit.camera_is_fixed=False" in found.warnings[0]


def test_without_a_lock_nothing_is_said_of_feet(body, stance, sure):
    found = recover(body, panned(stance, 4.0), motion=dataclasses.replace(MOTION, lock_spread=np.inf))
    assert not found.warnings
    assert found.ground is None
