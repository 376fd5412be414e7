import dataclasses
import functools
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

import hardmo_jax as hm
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion import glb
from hardmo_jax.export.motion.scene_motion import y_up
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.perception import model_files
from hardmo_jax.pipelines.exports import export_motions
from tests.export.motion import scenes_to_write
from tests.export.motion.glb_reader import GlbFile
from tests.reference import smpl_files

#: Metres. What float32 leaves is a hundred times smaller.
CLOSE = 1e-4
FRAMES = 8
_VALIDATOR = "gltf-validator@2.0.0-dev.3.10"
_VALIDATE = """
const validator = require(process.argv[1]), fs = require('fs');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), {maxIssues: 0})
  .then(report => console.log(JSON.stringify(report.issues.messages)));
"""


@functools.cache
def two_people():
    return scenes_to_write.two_people(FRAMES)


@functools.cache
def two_people_file():
    return GlbFile(glb.glb_bytes(two_people()))


def our_bodies(scene):
    """Of every person: vertices and joints, y up."""
    posed = [in_pieces(scene.body, track.params) for track in scene.tracks]
    return [(y_up(out.vertices), y_up(out.joints)) for out in posed]


def worst_distances(scene, file):
    """Greatest distance of vertices and of joints from ours, and how large people are who are not there, metres."""
    vertices, joints, absent = [0.0], [0.0], [0.0]
    bodies = our_bodies(scene)
    for frame in range(scene.num_frames):
        world = file.world_matrices(np.float32(frame / (scene.frames_per_second or 1)))
        for track, (our_vertices, our_joints) in zip(scene.tracks, bodies, strict=True):
            theirs = file.vertices(f"{track.name}_mesh", world)
            row = frame - track.first_frame
            if 0 <= row < track.num_frames:
                names = [f"{track.name}_{joint}" for joint in scene.body.joint_names]
                vertices.append(np.abs(theirs - our_vertices[row]).max())
                joints.append(np.abs(file.places(names, world) - our_joints[row]).max())
            else:
                absent.append(np.ptp(theirs, axis=0).max())
    return max(vertices), max(joints), max(absent)


def small_body(family="smpl", *, bones=4):
    """A synthetic body with blend shapes of the pose."""
    model = smpl_files.make_model(family, num_vertices=120, num_betas=20 if family == "smplx" else 10)
    if bones > 4:
        rng = np.random.default_rng(3)
        weights = np.zeros_like(model["weights"])
        for row in weights:
            row[rng.choice(len(row), bones, replace=False)] = rng.dirichlet(np.ones(bones))
        model["weights"] = weights
    return model


def load_small(tmp_path, family="smpl", *, bones=4, with_pose_basis=True):
    model = small_body(family, bones=bones)
    if not with_pose_basis:
        model["posedirs"] = np.zeros_like(model["posedirs"])
    return hm.load_body(smpl_files.write_npz(tmp_path / f"{smpl_files.published_stem(family)}.npz", model))


def test_every_vertex_and_joint_of_everybody_is_where_it_is_in_our_body(figure):
    vertices, joints, absent = worst_distances(two_people(), two_people_file())
    assert max(vertices, joints) < CLOSE
    assert absent < 1e-6
    figure(f"GLB against the body: vertices {1e3 * vertices:.5f} mm, joints {1e3 * joints:.5f} mm")


def test_error_of_the_mesh_is_that_of_an_independent_reader(tmp_path):
    assert 0 < glb.glb_mesh_error(two_people())[0] < CLOSE
    body = load_small(tmp_path)
    scene = scenes_to_write.two_people(FRAMES, body)
    greatest, mean = glb.glb_mesh_error(scene)
    file = GlbFile(glb.glb_bytes(scene))
    vertices, joints, _ = worst_distances(scene, file)
    assert joints < CLOSE
    # One is a distance, the other a component of it.
    assert vertices <= greatest + 1e-6 <= 3**0.5 * vertices + 1e-5
    assert CLOSE < mean < greatest
    # What the command tells of it is of the first person.
    alone = dataclasses.replace(scene, tracks=scene.tracks[:1])
    told = export_motions.skinning_note([scene])
    greatest, mean = (1000 * error for error in glb.glb_mesh_error(alone))
    assert f"{mean:.1f} mm off in the mean and {greatest:.1f} mm at most, by {FRAMES} frames of person_00" in told
    assert export_motions.skinning_note([two_people()]) is None


def test_people_are_there_in_their_frames_only():
    scene, file = two_people(), two_people_file()
    track = scene.tracks[1]
    for frame in range(scene.num_frames):
        size = file.sizes(f"{track.name}_pelvis", file.world_matrices(np.float32(frame / 30)))
        is_there = track.first_frame <= frame < track.first_frame + track.num_frames
        np.testing.assert_allclose(size, 1.0 * is_there, atol=1e-6)


@pytest.mark.parametrize("family", ["smplh", "smplx", "mano_left"])
def test_every_family_moves_as_its_body(tmp_path, family):
    scene = scenes_to_write.two_people(6, load_small(tmp_path, family, with_pose_basis=False))
    assert max(worst_distances(scene, GlbFile(glb.glb_bytes(scene)))) < CLOSE


def test_vertices_of_many_joints_keep_all_of_them(tmp_path):
    scene = scenes_to_write.two_people(6, load_small(tmp_path, bones=6, with_pose_basis=False))
    data = glb.glb_bytes(scene)
    file = GlbFile(data)
    attributes = file.attributes("person_00_mesh")
    assert attributes["WEIGHTS_1"].any()
    assert attributes["WEIGHTS_0"][:, 3].min() >= attributes["WEIGHTS_1"].max(axis=1).min()
    assert max(worst_distances(scene, file)) < CLOSE


def test_camera_sees_people_where_ours_does():
    scene, file = two_people(), two_people_file()
    camera = scene.camera
    assert camera is not None
    bodies = in_pieces(scene.body, scene.tracks[0].params).vertices.astype(np.float64)
    for frame, points in enumerate(bodies):
        seen = (points - camera.position[frame]) @ camera.rotation[frame]
        ours = seen[:, :2] / seen[:, 2:] * camera.focal_length[frame] + camera.principal_point[frame]
        theirs = file.project(y_up(points), file.world_matrices(np.float32(frame / 30)), camera.image_size)
        np.testing.assert_allclose(theirs, ours, atol=0.01)


def test_pixels_that_are_not_square_are_kept_and_what_a_camera_cannot_say_is_told():
    scene = two_people()
    camera = dataclasses.replace(
        scenes_to_write.camera_ahead(FRAMES, moves=False, principal_point=(100.0, 50.0)),
        focal_length=np.tile([400.0, 500.0], (FRAMES, 1)),
    )
    file = GlbFile(glb.glb_bytes(dataclasses.replace(scene, camera=camera)))
    lens = file.tree["cameras"][0]
    assert lens["extras"] == {
        "image_size": [640, 360], "focal_length": [400.0, 500.0], "principal_point": [100.0, 50.0],
    }  # fmt: skip
    assert lens["perspective"]["aspectRatio"] == pytest.approx(640 / 360 * 500 / 400)
    node = next(index for index, node in enumerate(file.tree["nodes"]) if "camera" in node)
    assert not [channel for channel in file.tree["animations"][0]["channels"] if channel["target"]["node"] == node]


def test_a_photo_is_a_pose_without_an_animation():
    scene = scenes_to_write.photo()
    file = GlbFile(glb.glb_bytes(scene))
    assert "animations" not in file.tree
    assert max(worst_distances(scene, file)) < CLOSE


def test_one_clip_plays_everybody_and_the_file_says_where_it_is_from():
    tree = two_people_file().tree
    (animation,) = tree["animations"]
    moved = {tree["nodes"][channel["target"]["node"]]["name"] for channel in animation["channels"]}
    assert {"person_00_pelvis", "person_07_left_thumb3", "person_07_right_foot", "camera"} <= moved
    assert tree["asset"]["generator"] == f"hardmo_jax {hm.__version__}"
    assert tree["asset"]["extras"] == {
        "source": "two.mp4", "body": "open_body", "frames_per_second": 30.0, "num_frames": FRAMES,
        "first_source_frame": 40, "floor": "labels",
    }  # fmt: skip
    extras = next(node["extras"] for node in tree["nodes"] if node["name"] == "person_07")
    assert (extras["track_id"], extras["first_frame"], extras["num_frames"]) == (7, 2, FRAMES - 4)
    assert extras["interpolated_frames"] == (2 + np.flatnonzero(~two_people().tracks[1].is_labelled)).tolist()
    colours = [tuple(material["pbrMetallicRoughness"]["baseColorFactor"]) for material in tree["materials"]]
    assert len({*colours}) == 2


def test_equal_arrays_are_stored_once_and_equal_scenes_are_equal_bytes():
    tree = two_people_file().tree
    first, second = (mesh["primitives"][0] for mesh in tree["meshes"])
    assert first["indices"] == second["indices"]
    assert first["attributes"]["JOINTS_0"] == second["attributes"]["JOINTS_0"]
    assert first["attributes"]["WEIGHTS_0"] == second["attributes"]["WEIGHTS_0"]
    assert first["attributes"]["POSITION"] != second["attributes"]["POSITION"]
    assert glb.glb_bytes(two_people()) == glb.glb_bytes(scenes_to_write.two_people(FRAMES))


def test_rotations_take_no_way_round_and_what_stays_is_one_key():
    track = scenes_to_write.track(hm.open_body(), 24, turns=2.5)
    still = dataclasses.replace(track.params, left_hand_pose=np.full((24, 15, 3), 0.1, np.float32))
    scene = scenes_to_write.scene(hm.open_body(), (dataclasses.replace(track, params=still),), 24)
    file = GlbFile(glb.glb_bytes(scene))
    (animation,) = file.tree["animations"]
    keys = {}
    for channel in animation["channels"]:
        name, path = file.tree["nodes"][channel["target"]["node"]]["name"], channel["target"]["path"]
        values = file.array(animation["samplers"][channel["sampler"]]["output"])
        keys[name, path] = len(values)
        if path == "rotation":
            assert (np.sum(values[1:] * values[:-1], axis=1) > 0).all()
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    assert {count for (name, _), count in keys.items() if "left_index" in name} == {1}
    assert keys["person_00_pelvis", "rotation"] == keys["person_00_pelvis", "translation"] == 24
    assert ("person_00_pelvis", "scale") not in keys
    half = file.vertices("person_00_mesh", file.world_matrices(10.5 / 30))
    # Half way is between the two, up to the bend of the way; the way round would be metres off.
    between = [file.vertices("person_00_mesh", file.world_matrices(np.float32(frame / 30))) for frame in (10, 11)]
    assert np.abs(half - np.mean(between, axis=0)).max() < 0.15


def test_weights_and_normals_are_as_the_format_wants_them():
    attributes = two_people_file().attributes("person_07_mesh")
    assert np.abs(attributes["WEIGHTS_0"].sum(axis=1) - 1).max() < 1e-7
    assert not attributes["JOINTS_0"][attributes["WEIGHTS_0"] == 0].any()
    np.testing.assert_allclose(np.linalg.norm(attributes["NORMAL"], axis=1), 1, atol=1e-6)
    corners = attributes["POSITION"][attributes["indices"]]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = np.sum(outward * attributes["NORMAL"][attributes["indices"][:, 0]], axis=1)
    assert np.mean(along > 0) > 0.99


def _with_params(scene, **changes):
    track = scene.tracks[0]
    broken = dataclasses.replace(track, params=dataclasses.replace(track.params, **changes))
    return dataclasses.replace(scene, tracks=(broken, *scene.tracks[1:]))


def _not_finite(array):
    array = np.array(array)
    array[3, ..., 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda s: dataclasses.replace(s, tracks=()), "nobody"),
        (lambda s: _with_params(s, transl=_not_finite(s.tracks[0].params.transl)), "`transl` is not finite in frame 3"),
        (lambda s: _with_params(s, body_pose=_not_finite(s.tracks[0].params.body_pose)), "`body_pose` is not finite"),
        (lambda s: _with_params(s, betas=np.array(s.tracks[0].params.betas) * np.arange(FRAMES)[:, None]), "one for"),
        (lambda s: _with_params(s, left_hand_pose=None), "`left_hand_pose` is missing"),
        (lambda s: _with_params(s, transl=np.zeros((2, 3))), r"must have shape \(8, 3\), got \(2, 3\)"),
        (lambda s: dataclasses.replace(s, num_frames=4), "of the 4 frames"),
        (lambda s: dataclasses.replace(s, tracks=s.tracks[:1] * 2), "two people have one name"),
        (lambda s: dataclasses.replace(s, frames_per_second=None), "no frame rate"),
        (lambda s: dataclasses.replace(s, frames_per_second=float("nan")), "must be positive, got nan"),
        (lambda s: dataclasses.replace(s, camera=scenes_to_write.camera_ahead(3)), "camera.rotation"),
        (
            lambda s: dataclasses.replace(
                s, camera=dataclasses.replace(s.camera, focal_length=np.zeros((FRAMES, 2)))
            ),
            "focal length must be positive",
        ),
        (lambda s: dataclasses.replace(s, body=s.body.subset([1, 2, 3])), "has no triangles"),
        (
            lambda s: dataclasses.replace(
                s, num_frames=10**10, camera=None, tracks=(dataclasses.replace(s.tracks[0], first_frame=10**9),)
            ),
            "cannot tell them apart",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_and_leaves_what_was_there(tmp_path, broken, message):
    path = tmp_path / "scene.glb"
    path.write_bytes(b"before")
    with pytest.raises(ExportError, match=message):
        glb.write_glb(path, broken(two_people()))
    assert [file.name for file in tmp_path.iterdir()] == ["scene.glb"]
    assert path.read_bytes() == b"before"


def test_skeletons_alone_need_no_mesh(tmp_path):
    scene = two_people()
    bones = dataclasses.replace(scene, body=scene.body.subset([]))
    file = GlbFile(glb.write_glb(tmp_path / "new folder" / "bones.glb", bones, with_mesh=False).read_bytes())
    assert "meshes" not in file.tree
    assert len(file.tree["skins"]) == 2
    world = file.world_matrices(np.float32(4 / 30))
    names = [f"person_07_{joint}" for joint in scene.body.joint_names]
    np.testing.assert_allclose(file.places(names, world), our_bodies(scene)[1][1][2], atol=CLOSE)


def test_trimesh_reads_everybody(tmp_path):
    scene = two_people()
    read = trimesh.load_scene(glb.write_glb(tmp_path / "two.glb", scene))
    assert {*read.geometry} == {"person_00", "person_07"}
    for mesh in read.geometry.values():
        assert len(mesh.faces) == len(scene.body.faces)
    betas = jnp.asarray(scene.tracks[1].betas)
    np.testing.assert_allclose(
        np.sort(read.geometry["person_07"].bounds, axis=0),
        np.sort([fold(np.asarray(scene.body.shaped(betas).template_planar), 1) for fold in (np.min, np.max)], axis=0),
        atol=CLOSE,
    )


@pytest.fixture(scope="session")
def validator(tmp_path_factory):
    """Khronos' validator as a Node package: from the cache, or fetched into it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        pytest.skip("the glTF validator needs node")
    home = model_files.default_model_folder().parent / _VALIDATOR.replace("@", "-")
    package = home / "node_modules" / "gltf-validator"
    if not package.is_dir():
        if npm is None:
            pytest.skip(f"no glTF validator at {home}, and no npm to fetch it")
        place = tmp_path_factory.mktemp("npm")
        quiet = ["--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=5000"]
        try:
            subprocess.run(
                [npm, "install", "--prefix", place, *quiet, _VALIDATOR], check=True, capture_output=True, timeout=30
            )
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"no glTF validator at {home}, and npm could not fetch it: {error}")
        home.parent.mkdir(parents=True, exist_ok=True)
        if not package.is_dir():
            shutil.copytree(place, home, dirs_exist_ok=True)

    def validate(path):
        command = [node, "-e", _VALIDATE, str(package), str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)

    return validate


def test_the_validator_of_khronos_finds_nothing(validator, tmp_path):
    small = scenes_to_write.two_people(6, load_small(tmp_path, bones=6))
    scenes = {
        "two": two_people(),
        "photo": scenes_to_write.photo(),
        "many bones, no camera, other names": dataclasses.replace(
            small, camera=None, name="Фильм/取", source_name="取.mp4"
        ),
        "one frame of a video": scenes_to_write.scene(
            small.body, (scenes_to_write.track(small.body, 1),), 1, camera=scenes_to_write.camera_ahead(1)
        ),
    }
    for name, scene in scenes.items():
        assert validator(glb.write_glb(tmp_path / "scene.glb", scene)) == [], name
    messages = validator(glb.write_glb(tmp_path / "bones.glb", two_people(), with_mesh=False))
    # What a skin is for is its mesh; programs make a skeleton of joints because of it.
    assert {message["code"] for message in messages} == {"UNUSED_OBJECT"}
    assert {message["severity"] for message in messages} == {2}


def test_the_validator_would_find_something(validator, tmp_path):
    path = tmp_path / "broken.glb"
    path.write_bytes(glb.glb_bytes(scenes_to_write.photo()).replace(b'"skin":1', b'"skin":9'))
    assert "UNRESOLVED_REFERENCE" in {message["code"] for message in validator(path)}


def test_blender_shows_what_our_body_is(tmp_path):
    # Not imported here: it would crash this process at its end.
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("needs Blender as a Python module, bpy")
    scene = two_people()
    path = glb.write_glb(tmp_path / "two.glb", scene)
    truth = {track.name: in_pieces(scene.body, track.params).vertices for track in scene.tracks}
    starts = {f"{track.name}_first": np.array(track.first_frame) for track in scene.tracks}
    np.savez(tmp_path / "truth.npz", fps=np.array(scene.frames_per_second), **truth, **starts)
    script = pathlib.Path(__file__).with_name("blender_check.py")
    subprocess.run([sys.executable, script, "--", path, tmp_path / "truth.npz"], check=True, timeout=300)
