"""A regressor in the job: who is asked, in what order answers come, and fits that start there, in photos and videos."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax import options as options_module
from hardmo_jax.body import landmarks as hm_landmarks
from hardmo_jax.geometry import cameras
from hardmo_jax.labels import store
from hardmo_jax.networks.regressor_file import RegressorFileError, load_converted
from hardmo_jax.networks.regressors import regress
from hardmo_jax.perception import crop_rules
from hardmo_jax.perception.regressor_crops import cut_people
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import annotate, regress_people
from hardmo_jax.pipelines.annotate_cameras import CameraOptions, with_noted_camera
from hardmo_jax.pipelines.convert_checkpoint import convert_checkpoint
from hardmo_jax.pipelines.regress_people import InitialiseOptions, PeopleRegressor, start_of_sightings
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.skeleton import layouts

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (300, 400, 3), dtype=np.uint8)
GOOD = (np.array([20.0, 30, 120, 280]), np.array([150.0, 20, 260, 290]), np.array([240.0, 10, 380, 270]))
NOWHERE = np.array([900.0, 900, 950, 990])


@pytest.fixture(scope="module")
def converted(network_references, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "hmr2"
    convert_checkpoint("hmr2", network_references / "hmr2_small_seed1.ckpt", folder)
    return folder


def person(bbox, position=0):
    picture = Picture(
        position=position, source_path=pathlib.Path("a.png"), source_sha256="0" * 64, frame_index=0, time_seconds=None,
        width=400, height=300,
    )  # fmt: skip
    return Sighting(
        picture=picture, track_id=0, keypoints_2d=np.zeros((67, 2), np.float32), confidence=np.ones(67, np.float32),
        keypoints_3d=None, confidence_3d=None, bbox=np.asarray(bbox, np.float32), score=None, source="x",
    )  # fmt: skip


def asked(converted, pictures, **options):
    regressor = PeopleRegressor(InitialiseOptions(network="hmr2", checkpoint=str(converted), **options), hm.open_body())
    for boxes in pictures:
        regressor.look(IMAGE, [person(box) for box in boxes])
    return regressor.answers(), regressor


def test_answers_come_in_order_whatever_the_batch(converted):
    pictures = [GOOD[:2], [], (GOOD[2], NOWHERE), GOOD[:1]]
    answers, regressor = asked(converted, pictures)
    assert [answer is None for answer in answers] == [False, False, False, True, False]
    assert regressor.answers() == []
    alone = [asked(converted, [[box]])[0][0] for box in (*GOOD, GOOD[0])]
    for batch_size in (1, 2, 16):
        found, _ = asked(converted, pictures, batch_size=batch_size)
        for own, one in zip([answer for answer in found if answer is not None], alone, strict=True):
            np.testing.assert_allclose(own.body_pose, one.body_pose, atol=2e-5)
            np.testing.assert_allclose(own.weak_camera, one.weak_camera, atol=2e-5)
            np.testing.assert_array_equal(own.box_center, one.box_center)


def test_the_network_is_shown_the_person_of_the_box(converted):
    """Against the network itself, on the crop cut here by the rule: colours, place and size of the box."""
    (answer,), _ = asked(converted, [GOOD[:1]])
    rule = dataclasses.replace(crop_rules.HMR2, growth=1.2)
    crops = cut_people(IMAGE, GOOD[0][None].astype(np.float32), rule)
    regressor, _ = load_converted(converted, "hmr2")
    own = regress(regressor, crops.image)
    np.testing.assert_allclose(answer.body_pose, own.body_pose[0], atol=2e-5)
    np.testing.assert_allclose(answer.weak_camera, own.weak_camera[0], atol=2e-5)
    np.testing.assert_allclose(answer.box_center, [70, 155], atol=0.6)
    assert answer.box_size >= 1.2 * 250


def test_a_crop_holds_the_head_of_whose_trusted_points_the_box_is(converted):
    """The crown is a tenth of the body above the eyes."""
    (answer,), _ = asked(converted, [[np.array([150.0, 60, 230, 260])]])
    assert answer.box_center[1] - 0.5 * answer.box_size <= 60 - 0.09 * 200


def test_bfloat16_is_near(converted):
    exact, _ = asked(converted, [GOOD])
    rough, _ = asked(converted, [GOOD], numbers="bfloat16")
    for one, other in zip(exact, rough, strict=True):
        assert 0 < np.abs(one.body_pose - other.body_pose).max() < 0.1


def test_of_whom_nobody_was_asked_the_start_is_unusable(converted):
    answers, _ = asked(converted, [(*GOOD, NOWHERE)])
    people = [
        dataclasses.replace(person(box), regressed=answer)
        for box, answer in zip((*GOOD, NOWHERE), answers, strict=True)
    ]
    body = hm.open_body()
    camera = cameras.camera_from_image_size(400, 300)
    camera = cameras.Camera(
        focal_length=np.tile(camera.focal_length, (4, 1)), principal_point=np.tile(camera.principal_point, (4, 1))
    )
    start = start_of_sightings(body, people, camera)
    assert start.is_usable.tolist() == [True, True, True, False]
    assert np.isfinite(np.asarray(start.guess.params.transl)).all()
    assert start_of_sightings(body, [person(GOOD[0])], camera) is None


def test_a_network_is_fine_tuned_on_the_keypoints_of_each_person(tmp_path):
    """Somebody upright, seen by a CLIFF of random weights whose camera is about the usual one."""
    torch = pytest.importorskip("torch", reason="writes the checkpoint; the `bench` extra")
    from tests.reference import torch_hrnets, torch_networks

    network = torch_networks.randomise(torch_hrnets.Cliff(torch_hrnets.ResnetEncoder(width=4), hidden=16), 1)
    weights = network.state_dict()
    for name, value in weights.items():
        if "dec" in name:
            value.mul_(1e-4)
        if name.endswith("init_pose"):
            value.copy_(torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(24)[None])
        if name.endswith("init_cam"):
            value.copy_(torch.tensor([[0.9, 0, 0]]))
    torch.save({"model": weights}, tmp_path / "cliff.pt")
    convert_checkpoint("cliff", tmp_path / "cliff.pt", tmp_path / "cliff")
    body, picture = hm.open_body(), person(GOOD[0]).picture
    pose = np.zeros((1, body.num_joints, 3), np.float32)
    pose[0, 0, 0] = np.pi  # upright before a camera whose y points down
    params = hm.BodyParams.from_full_pose(
        body, pose, betas=np.zeros((1, body.num_betas), np.float32), transl=np.array([[-0.7, -0.3, 2.5]], np.float32)
    )
    points, has = hm_landmarks.point_model(body, layouts.get_layout("openpose67"))
    pixels = np.asarray(cameras.project_points(picture.camera, points(params)))[0]
    seen = dataclasses.replace(
        person([*pixels[has].min(0), *pixels[has].max(0)]),
        keypoints_2d=pixels.astype(np.float32),
        confidence=has.astype(np.float32),
    )
    errors = []
    for steps in (0, 30):
        options = InitialiseOptions(network="cliff", checkpoint=str(tmp_path / "cliff"), finetune_steps=steps)
        regressor = PeopleRegressor(options, body)
        regressor.look(IMAGE, [seen])
        told = dataclasses.replace(seen, regressed=regressor.answers()[0])
        camera = cameras.Camera(
            focal_length=np.asarray(picture.camera.focal_length)[None],
            principal_point=np.asarray(picture.camera.principal_point)[None],
        )
        start = start_of_sightings(body, [told], camera)
        found = np.asarray(cameras.project_points(picture.camera, points(start.guess.params)))[0]
        errors.append(np.linalg.norm(found - pixels, axis=-1)[has].mean())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [({"network": "hmr3", "checkpoint": "x"}, "hmr3"),
     ({"network": "hmr2"}, "go together"),
     ({"checkpoint": "x"}, "go together"),
     ({"network": "hmr2", "checkpoint": "x", "numbers": "int8"}, "int8"),
     ({"network": "hmr2", "checkpoint": "x", "batch_size": 0}, "at least 1"),
     ({"network": "prohmr", "checkpoint": "x", "finetune_steps": 50}, "puts out rotations"),
     ({"finetune_steps": 50}, "puts out rotations"),
     ({"network": "hmr2", "checkpoint": "x", "num_samples": 4}, "density")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(values, words):
    with pytest.raises(options_module.OptionsError, match=words):
        options_module.from_mapping(InitialiseOptions, values, where="config.initialise")


def test_a_folder_that_is_no_network_is_told_before_anything_is_loaded(converted, tmp_path):
    for network, checkpoint, words in (
        ("hmr2", tmp_path / "none", "no such folder"),
        ("hmr", converted, "holds `hmr2`"),
    ):
        options = annotate.AnnotateOptions(initialise=InitialiseOptions(network=network, checkpoint=str(checkpoint)))
        with pytest.raises((FileNotFoundError, RegressorFileError), match=words):
            annotate.annotate(tmp_path / "clip.mp4", tmp_path / "out", options=options, model_folder=tmp_path)


def test_several_starts_and_a_network_are_refused():
    with pytest.raises(ValueError, match="one start"):
        annotate.AnnotateOptions(
            initialise=InitialiseOptions(network="hmr2", checkpoint="x"),
            start=dataclasses.replace(annotate.AnnotateOptions().start, hypotheses=("guess_1", "plain")),
        )


def test_a_folder_that_is_none_and_another_network_are_told(converted, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        PeopleRegressor(InitialiseOptions(network="hmr2", checkpoint=str(tmp_path / "none")), hm.open_body())
    with pytest.raises(RegressorFileError, match="`hmr` is asked for"):
        PeopleRegressor(InitialiseOptions(network="hmr", checkpoint=str(converted)), hm.open_body())


def labelled(source, output, models, checkpoint, *, network="hmr2", **changes):
    options = annotate.AnnotateOptions(
        initialise=InitialiseOptions(network=network, checkpoint=str(checkpoint)),
        perception=PerceptionOptions(tiles=(), extra_looks=0),
        output=annotate.OutputOptions(overlay=False, part_scores=False),
        **changes,
    )
    summary = annotate.annotate(source, output, options=options, model_folder=models)
    record = json.loads((output / "run.json").read_text())["results"]
    return summary, store.read_labels(output / "labels.parquet").rows, record


def test_real_photos_are_labelled_by_a_network_of_random_weights(
    converted, reference_data, perception_models, tmp_path
):
    """Numbers of the network mean nothing; its fits fail, begin anew at the lifter's guess, and that is told."""
    (tmp_path / "in").mkdir()
    photo = next((reference_data / "media" / "images").rglob("man-in-red*.png"))
    shutil.copy(photo, tmp_path / "in")
    summary, rows, record = labelled(tmp_path / "in", tmp_path / "out", perception_models, converted)
    assert rows
    assert all(row.is_usable for row in rows)
    assert any("start from the lifter's guess" in warning for warning in summary.warnings)
    assert record["network"]["model"] == "hmr2"
    assert len(record["network"]["source_sha256"]) == 64
    assert "regress" in {rate.stage for rate in summary.stages}


def test_a_network_that_is_right_starts_photos_and_videos(
    converted, reference_data, perception_models, tmp_path, monkeypatch, figure
):
    """The network is replaced by one that sees the person of a clip as a fit of all frames does."""
    clip = reference_data / "media/videos/mmhuman3d_single_person_demo.mp4"
    plain = annotate.AnnotateOptions(
        perception=PerceptionOptions(tiles=(), extra_looks=0),
        output=annotate.OutputOptions(overlay=False, part_scores=False), limit_frames=10,
    )  # fmt: skip
    annotate.annotate(clip, tmp_path / "plain", options=plain, model_folder=perception_models)
    truth = store.read_labels(tmp_path / "plain" / "labels.parquet").rows
    told = iter(truth)

    def see(self):
        answers = []
        for center, size in self.seen:
            row = next(told)
            answers.append(as_network(row, center, size))
        self.seen = []
        return answers

    def look(self, image, people):
        self.__dict__.setdefault("seen", [])
        self.seen += [
            (0.5 * (one.bbox[:2] + one.bbox[2:]), float((one.bbox[2:] - one.bbox[:2]).max())) for one in people
        ]

    monkeypatch.setattr(PeopleRegressor, "answers", see)
    monkeypatch.setattr(PeopleRegressor, "look", look)
    summary, rows, _ = labelled(clip, tmp_path / "out", perception_models, converted, limit_frames=10)
    assert not any("start from the lifter" in warning for warning in summary.warnings)
    apart = [
        np.linalg.norm(row.body_pose - one.body_pose, axis=-1).mean() for row, one in zip(rows, truth, strict=True)
    ]
    figure(f"{np.degrees(np.mean(apart)):.1f} degrees a joint from the fit that the network repeats")
    assert np.degrees(np.mean(apart)) < 5


def as_network(row, center, size):
    """What a network without errors says of a label's person."""
    import jax.numpy as jnp

    from hardmo_jax.geometry import crop_cameras, rotations
    from hardmo_jax.geometry.crop_cameras import CropBox
    from hardmo_jax.networks.lifter_input import looking_at

    body = hm.open_body()
    own_root = np.asarray(body.joint_template)[0] + row.betas @ np.asarray(body.joint_shape_basis)[: len(row.betas), 0]
    root = row.transl + own_root
    seen = np.asarray(looking_at(jnp.asarray(root[None, :2] / root[2])))[0]
    pose = np.concatenate([row.global_orient[None], row.body_pose, np.zeros((2, 3))])[:24].astype(np.float32)
    matrices = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(pose)))
    camera = cameras.Camera(focal_length=row.focal_length[None], principal_point=row.principal_point[None])
    box = CropBox(center=np.asarray(center, np.float32)[None], size=np.array([size], np.float32))
    # Of SMPL, whose root rests elsewhere.
    transl = (root - np.array([0.0, -0.22, 0.03]))[None].astype(np.float32)
    return regress_people.RegressedPerson(
        global_orient=seen @ matrices[0],
        body_pose=matrices[1:],
        betas=np.zeros(10, np.float32),
        weak_camera=np.asarray(crop_cameras.weak_camera_from_full_transl(transl, box, camera))[0],
        box_center=np.asarray(center),
        box_size=size,
    )


@pytest.fixture(scope="module")
def random_networks(tmp_path_factory):
    """Folders of narrow networks of random weights, by name; `bedlam_smplx` answers with SMPL-X."""
    torch = pytest.importorskip("torch", reason="writes the checkpoints; the `bench` extra")
    from tests.reference import torch_hrnets, torch_networks

    def pose():
        return torch_hrnets.PoseHrnet(width=2, stem=4, modules=(1, 1, 1), blocks=1)

    made = {
        "cliff": torch_hrnets.Cliff(torch_hrnets.ResnetEncoder(width=4), hidden=16),
        "bedlam_cliff": torch_hrnets.BedlamCliff(pose(), hidden=16, joints=22, betas=11),
        "hardmo_hmr": torch_hrnets.HardmoHmr(pose(), hidden=16),
    }
    folder = tmp_path_factory.mktemp("random")
    for name, network in made.items():
        torch.save({"model": torch_networks.randomise(network, 1).state_dict()}, folder / f"{name}.pt")
        convert_checkpoint(name, folder / f"{name}.pt", folder / name)
    return folder


@pytest.mark.parametrize("name", ["cliff", "bedlam_cliff", "hardmo_hmr"])
def test_networks_are_told_where_in_the_picture_people_are(random_networks, name):
    regressor = PeopleRegressor(
        InitialiseOptions(network=name, checkpoint=str(random_networks / name), batch_size=4), hm.open_body()
    )
    # The same pixels about both people, so that only the place in the picture differs.
    image = np.zeros((300, 400, 3), np.uint8)
    regressor.look(image, [person(np.array([50.0, 50, 150, 250])), person(np.array([250.0, 50, 350, 250]))])
    left, right = regressor.answers()
    joints = 21 if name == "bedlam_cliff" else 23
    assert left.body_pose.shape == (joints, 3, 3)
    sees = name != "hardmo_hmr"
    assert (left.told_focal_length, right.told_focal_length) == ((500.0, 500.0) if sees else (None, None))
    assert (np.abs(left.body_pose - right.body_pose).max() > 1e-4) == sees
    people = [dataclasses.replace(person(GOOD[0]), regressed=answer) for answer in (left, right)] + [person(GOOD[1])]
    view = cameras.camera_from_image_size(400, 300)
    camera = cameras.Camera(
        focal_length=np.tile(view.focal_length, (3, 1)), principal_point=np.tile(view.principal_point, (3, 1))
    )
    start = start_of_sightings(hm.open_body(), people, camera)
    assert np.isfinite(np.asarray(start.guess.params.transl)).all()
    assert not start.is_usable[2]
    if sees:
        np.testing.assert_allclose(start.guess.axes, np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-6)


def test_true_focal_lengths_are_told_to_bedlam_s_network_alone(random_networks, monkeypatch):
    seen = {}

    def remember(regressor, images, context):
        seen[regressor.name] = np.asarray(context.focal_length)
        return real(regressor, images, context)

    real = regress_people.regress
    monkeypatch.setattr(regress_people, "regress", remember)
    one = person(GOOD[0])
    given = CameraOptions(field_of_view_degrees=30.0)
    for name in ("cliff", "bedlam_cliff"):
        regressor = PeopleRegressor(
            InitialiseOptions(network=name, checkpoint=str(random_networks / name)), hm.open_body(), camera=given
        )
        regressor.look(IMAGE, [one])
        regressor.answers()
    np.testing.assert_allclose(seen["cliff"], 500.0)
    wanted = with_noted_camera(one.picture, given).camera.focal_length[0]
    np.testing.assert_allclose(seen["bedlam_cliff"], float(wanted), rtol=1e-6)
    assert abs(seen["bedlam_cliff"][0] - 500.0) > 100


def test_real_photo_is_labelled_by_cliff_of_random_weights(
    random_networks, reference_data, perception_models, tmp_path
):
    (tmp_path / "in").mkdir()
    shutil.copy(next((reference_data / "media" / "images").rglob("man-in-red*.png")), tmp_path / "in")
    _, rows, record = labelled(
        tmp_path / "in", tmp_path / "out", perception_models, random_networks / "cliff", network="cliff"
    )
    assert rows
    assert all(row.is_usable for row in rows)
    assert record["network"]["model"] == "cliff"
