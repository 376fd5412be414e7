"""Our own file format gives back the published model, and refuses what was changed, cut off or is not understood."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import arrays, compact, io, open_body
from tests.reference import smpl_files

SMALL = 120
#: Full-size models by family and columns of the shape basis, for the load times.
FULL = [("smpl", 10), ("smpl", 300), ("smplx", 400)]


def stem(family: str) -> str:
    return {"mano_left": "MANO_LEFT", "mano_right": "MANO_RIGHT"}.get(family, f"{family.upper()}_FEMALE")


@pytest.fixture(scope="module", params=smpl_files.FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A published file of each family (float64, 400 columns) and the compact one that is made from it."""
    folder = tmp_path_factory.mktemp(request.param)
    model = smpl_files.make_model(request.param, num_vertices=SMALL, num_betas=400)
    published = smpl_files.write_python2_pickle(folder / f"{stem(request.param)}.pkl", model)
    return published, compact.write_compact(folder / "own.npz", io.read_arrays(published))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small compact SMPL-X file that a test may change."""
    model = smpl_files.make_model("smplx", num_vertices=SMALL, num_betas=20)
    published = smpl_files.write_npz(tmp_path / "SMPLX_MALE.npz", model)
    return compact.write_compact(tmp_path / "own" / "own.npz", io.read_arrays(published))


# ---- what comes back ------------------------------------------------------------------------------------------


def test_what_is_computed_with_comes_back_in_float32(pair: tuple[Path, Path]) -> None:
    published, written = (io.read_arrays(path) for path in pair)

    for name in ("vertices_template", "shape_basis", "pose_basis", "skinning_weights"):
        np.testing.assert_array_equal(getattr(written, name), getattr(published, name).astype(np.float32))
        assert getattr(written, name).dtype == np.float32
    for (_, ours), (_, theirs) in zip(written.hands, published.hands, strict=True):
        np.testing.assert_array_equal(ours.mean, theirs.mean.astype(np.float32))
        np.testing.assert_array_equal(ours.components, theirs.components.astype(np.float32))


def test_faces_tree_and_regressor_come_back_exactly(pair: tuple[Path, Path]) -> None:
    published, written = (io.read_arrays(path) for path in pair)

    np.testing.assert_array_equal(written.faces, published.faces)
    np.testing.assert_array_equal(written.joint_regressor, published.joint_regressor)
    assert written.joint_regressor.dtype == np.float64
    for name in (
        "family", "gender", "parents", "joint_names", "num_expression", "landmark_vertex_ids", "checksum", "source",
    ):  # fmt: skip
        assert getattr(written, name) == getattr(published, name), name
    assert [side for side, _ in written.hands] == [side for side, _ in published.hands]
    assert (written.face is None) == (published.face is None)
    if written.face is not None and published.face is not None:
        np.testing.assert_array_equal(written.face.triangles, published.face.triangles)
        np.testing.assert_array_equal(written.face.coordinates, published.face.coordinates)


@pytest.mark.parametrize(("num_betas", "num_expression"), [(10, None), (None, None), (3, 0), (300, None)])
def test_coefficients_are_kept_as_of_the_published_file(
    num_betas: int | None, num_expression: int | None, pair: tuple[Path, Path]
) -> None:
    published, written = (io.load_arrays(path, num_betas=num_betas, num_expression=num_expression) for path in pair)

    np.testing.assert_array_equal(written.shape_basis, published.shape_basis.astype(np.float32))
    assert written.num_expression == published.num_expression


def test_loaded_body_is_the_published_one(pair: tuple[Path, Path]) -> None:
    published, written = (hm.load_body(path) for path in pair)

    # The structure holds the static fields: name, checksum, gender, family, landmarks.
    assert jax.tree.structure(written) == jax.tree.structure(published)
    for ours, theirs in zip(jax.tree.leaves(written), jax.tree.leaves(published), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_arrays_are_read_only(pair: tuple[Path, Path]) -> None:
    for num_betas in (10, None):
        loaded = io.load_arrays(pair[1], num_betas=num_betas)
        for array in (
            loaded.vertices_template, loaded.shape_basis, loaded.pose_basis, loaded.joint_regressor,
            loaded.skinning_weights, loaded.faces, *(array for _, space in loaded.hands for array in space),
            *(loaded.face or ()),
        ):  # fmt: skip
            assert array is not None
            assert not array.flags.writeable


def test_checksum_is_that_of_the_published_file(pair: tuple[Path, Path]) -> None:
    assert io.load_arrays(pair[1]).checksum == hashlib.sha256(pair[0].read_bytes()).hexdigest()


def test_made_again_with_fewer_coefficients_it_is_still_the_published_model(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    again = compact.write_compact(tmp_path / "again.npz", io.load_arrays(pair[1], num_betas=4, num_expression=0))

    loaded, published = io.read_arrays(again), io.load_arrays(pair[0], num_betas=4, num_expression=0)

    np.testing.assert_array_equal(loaded.shape_basis, published.shape_basis.astype(np.float32))
    np.testing.assert_array_equal(loaded.joint_regressor, published.joint_regressor)
    assert (loaded.checksum, loaded.source) == (published.checksum, published.source)


def test_same_model_gives_the_same_content(pair: tuple[Path, Path], tmp_path: Path) -> None:
    again = compact.write_compact(tmp_path / "again.npz", io.read_arrays(pair[0]))

    with np.load(again) as ours, np.load(pair[1]) as theirs:
        assert ours["content_sha256"] == theirs["content_sha256"]


def test_file_is_plain_arrays_that_numpy_reads(pair: tuple[Path, Path]) -> None:
    with np.load(pair[1], allow_pickle=False) as content:
        assert set(content.files) <= set(compact.KEYS)
        assert content["hardmo_jax_body"] == compact.FORMAT_VERSION


@pytest.mark.parametrize("name", ["anything.npz", "smpl.npz", "a_copy_m_f.npz"])
@pytest.mark.parametrize(("family", "published"), [("smplx", "SMPLX_FEMALE"), ("mano_left", "MANO_LEFT")])
def test_gender_and_side_survive_another_name(family: str, published: str, name: str, tmp_path: Path) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL)
    whole = io.read_arrays(smpl_files.write_npz(tmp_path / f"{published}.npz", model))
    path = compact.write_compact(tmp_path / "own" / name, whole)

    loaded = io.load_arrays(path)

    assert (loaded.family, loaded.gender) == (family, "female" if family == "smplx" else "unknown")


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("SMPLX_FEMALE.npz", {}, r"holds a male model, and 'female' was asked for or is in its name; leave gender out"),
        ("a.npz", {"gender": "female"}, r"holds a male model, and 'female' was asked for"),
        ("a.npz", {"side": "left"}, r"holds SMPL-X, and side='left' was asked for"),
        ("a.npz", {"family": "smpl"}, r"SMPL-X model \(55 joints\), and family='smpl' was asked for"),
        ("a.npz", {"num_betas": 300}, r"has 10 shape .*ask for at most 10, or prepare .* --num_betas=all"),
    ],
)
def test_argument_or_name_against_the_content_is_refused(
    name: str, words: dict[str, Any], reason: str, own: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        io.load_arrays(own.rename(own.with_name(name)), **words)


def test_gender_that_no_file_says_is_by_argument_or_name(tmp_path: Path) -> None:
    model = smpl_files.make_model("smpl", num_vertices=SMALL)
    whole = io.read_arrays(smpl_files.write_npz(tmp_path / "body.npz", model))
    path = compact.write_compact(tmp_path / "own" / "own.npz", whole)

    assert io.load_arrays(path).gender == "unknown"
    assert io.load_arrays(path, gender="male").gender == "male"
    assert io.load_arrays(path.rename(path.with_name("SMPL_FEMALE.npz"))).gender == "female"


# ---- writing --------------------------------------------------------------------------------------------------


def test_other_ending_and_model_without_pose_shapes_are_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"an \.npz file, got model\.pkl"):
        compact.write_compact(tmp_path / "model.pkl", io.read_arrays(own))
    with pytest.raises(ValueError, match="no pose blend shapes"):
        compact.write_compact(tmp_path / "model.npz", open_body.load_open_body_arrays("smpl"))


def test_interrupted_write_leaves_the_old_file_and_no_scraps(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, whole = own.read_bytes(), io.read_arrays(own)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left"):
        compact.write_compact(own, whole)

    assert [path.name for path in own.parent.iterdir()] == ["own.npz"]
    assert own.read_bytes() == before


def test_name_with_odd_characters_is_written_without_them(tmp_path: Path) -> None:
    model = smpl_files.make_model("smpl", num_vertices=SMALL)
    published = smpl_files.write_npz(tmp_path / "SMPL\n\\MALE é.npz", model)

    path = compact.write_compact(tmp_path / "own.npz", io.read_arrays(published))

    assert io.load_arrays(path).source == "SMPL__MALE é.npz"


# ---- what is refused ------------------------------------------------------------------------------------------


def change(path: Path, *, seal: bool = True, drop: tuple[str, ...] = (), **changes: Any) -> Path:
    """Rewrite a file with other arrays; with the checksum that belongs to them, or with the old one."""
    with np.load(path) as content:
        stored = {key: content[key] for key in content.files}
    for key, value in changes.items():
        stored[key] = np.asarray(value(stored[key].copy()) if callable(value) else value)
    stored = {key: array for key, array in stored.items() if key not in drop}
    if seal and compact.SEAL_KEY in stored:
        stored[compact.SEAL_KEY] = np.array(compact._content_sha256(stored))
    np.savez(path, **stored)
    return path


def put(index: Any, number: float) -> Callable[[np.ndarray], np.ndarray]:
    def function(array: np.ndarray) -> np.ndarray:
        array[index] = number
        return array

    return function


def test_rewritten_file_without_a_change_loads(own: Path) -> None:
    assert io.load_arrays(change(own)).family == "smplx"


TEXTS = {"family": "smplh", "gender": "female", "source": "other.npz", "source_sha256": "0" * 64}


@pytest.mark.parametrize("key", [key for key in compact.KEYS if key not in ("hardmo_jax_body", "content_sha256")])
def test_change_to_any_array_is_refused(key: str, own: Path) -> None:
    def altered(array: np.ndarray) -> np.ndarray:
        if key in TEXTS:
            return np.array(TEXTS[key])
        return array ^ 1 if array.dtype.kind in "iu" else put((0,) * array.ndim, 0.123)(array)

    with pytest.raises(io.BodyFileError, match="does not match its checksum, so it was changed or damaged; copy it"):
        io.load_arrays(change(own, seal=False, **{key: altered}))


@pytest.mark.parametrize("key", ["face_coordinates", "left_hand_mean"])
def test_array_taken_out_is_refused(key: str, own: Path) -> None:
    with pytest.raises(io.BodyFileError, match="does not match its checksum"):
        io.load_arrays(change(own, seal=False, drop=(key,)))


def test_flipped_bit_is_refused_wherever_it_is(own: Path) -> None:
    """Places spread over the file, most of them inside arrays."""
    original, expected = own.read_bytes(), io.read_arrays(own).pose_basis
    for position in np.linspace(0, len(original) - 1, 200).astype(int):
        data = bytearray(original)
        data[position] ^= 4
        own.write_bytes(data)
        # What is not refused is a field of the archive that nothing is read from.
        with contextlib.suppress(io.BodyFileError):
            np.testing.assert_array_equal(io.read_arrays(own).pose_basis, expected)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_file_cut_off_is_refused(share: float, pair: tuple[Path, Path], tmp_path: Path) -> None:
    data = pair[1].read_bytes()
    file = tmp_path / "own.npz"
    file.write_bytes(data[: int(share * len(data))])

    with pytest.raises(io.BodyFileError, match=r"cut off|cut-off") as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)


#: What is refused although the checksum fits: by whoever writes such files, or a future version of ours.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a future version": ({"hardmo_jax_body": np.array(2)}, r"version '2' of the compact format, .* reads 1; update"),
    "a version in words": ({"hardmo_jax_body": np.array("one")}, r"version 'one' of the compact format"),
    "several versions": ({"hardmo_jax_body": np.arange(999)}, r"version '.{0,30}' of the compact format"),
    "an unknown family": ({"family": np.array("flame")}, r"family is 'flame', which no compact"),
    "an unknown gender": ({"gender": np.array("x" * 99)}, r"gender is 'x{40}', which no compact"),
    "a path as a name": ({"source": np.array("../SMPL.npz")}, r"source is '\.\./SMPL\.npz', which no compact"),
    "a line break in a name": ({"source": np.array("a\nb")}, r"source is 'a\\nb', which"),
    "a text that is a list": ({"source": np.array(["a", "b"])}, r"source is '', which"),
    "a checksum that is none": ({"source_sha256": np.array("0" * 63)}, r"source_sha256 is"),
    "NaN": ({"template": put((0, 0), np.nan)}, r"template has values that are NaN"),
    "infinity in a hand": ({"left_hand_components": put((0, 0, 0), np.inf)}, r"left_hand_components has values that"),
    "NaN in the regressor": ({"regressor_values": put(0, np.nan)}, r"regressor_values has values that are NaN"),
    "NaN in the face": ({"face_coordinates": put((0, 0), np.nan)}, r"face_coordinates has values that are NaN"),
    "float faces": ({"faces": lambda a: a.astype(float)}, r"faces must be integers, got float64"),
    "integers for a basis": ({"shape_basis": lambda a: a.astype(int)}, r"shape_basis must be floats, got int64"),
    "a basis of other vertices": ({"shape_basis": lambda a: a[..., 1:]}, r"shape_basis must have shape \(C, 3, 120\)"),
    "a pose basis of other joints": ({"pose_basis": lambda a: a[9:]}, r"pose_basis must have shape \(486, 3, 120\)"),
    "an SMPL-X file called SMPL": ({"family": np.array("smpl")}, r"pose_basis must have shape \(207, 3, 120\)"),
    "a flat template": ({"template": np.ravel}, r"template must have shape"),
    "faces beyond the mesh": ({"faces": put((0, 0), 120)}, r"f names vertices 0 to 120, the model has 120"),
    "weights that do not sum to one": ({"weight_values": put((3, 0), 0.0)}, r"those of vertex 3 sum to"),
    "a joint named twice": ({"weight_joints": lambda a: a * 0}, r"weights of each vertex must sum to 1"),
    "a joint outside": ({"weight_joints": put((0, 0), 55)}, r"weight_joints goes from 0 to 55, the model has 0 to 54"),
    "weights of other vertices": ({"weight_joints": lambda a: a[1:]}, r"weight_joints must have shape \(120, W\)"),
    "a regressor outside": ({"regressor_columns": put(0, 120)}, r"regressor_columns goes from 0 to 120"),
    "a negative row": ({"regressor_rows": put(0, -1)}, r"regressor_rows goes from -1"),
    "an uneven regressor": ({"regressor_rows": lambda a: a[1:]}, r"regressor_columns must have shape"),
    "an empty regressor": ({"regressor_rows": lambda a: a[:0]}, r"regressor_rows must have shape \(N\)"),
    "all expression": ({"num_expression": np.array(20)}, r"num_expression is 20 of 20 coefficients of SMPL-X"),
    "negative expression": ({"num_expression": np.array(-1)}, r"num_expression is -1 of 20"),
    "a face point outside": ({"face_triangles": put((0, 0), 120)}, r"face_triangles goes from . to 120"),
    "face points off their triangles": ({"face_coordinates": put((2, 0), 9.0)}, r"those of point 2 sum to"),
    "a hand of other joints": ({"right_hand_mean": lambda a: a[:14]}, r"right_hand_mean must have shape \(15, 3\)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(WRONG))
def test_wrong_content_is_refused_with_its_reason(fault: str, own: Path) -> None:
    changes, reason = WRONG[fault]

    with pytest.raises(io.BodyFileError, match=reason) as error:
        io.load_arrays(change(own, **changes))

    assert "\n" not in str(error.value)
    assert str(error.value).startswith("own.npz: ")


def test_expression_of_a_family_without_a_face_is_refused(tmp_path: Path) -> None:
    model = smpl_files.make_model("smpl", num_vertices=SMALL)
    whole = io.read_arrays(smpl_files.write_npz(tmp_path / "SMPL_MALE.npz", model))
    own = compact.write_compact(tmp_path / "own.npz", whole)

    with pytest.raises(io.BodyFileError, match="num_expression is 3 of 10 coefficients of SMPL"):
        io.load_arrays(change(own, num_expression=np.array(3)))


@pytest.mark.parametrize("key", [key for key in compact.KEYS if key not in compact._OPTIONAL_KEYS][1:])
def test_missing_array_is_named(key: str, own: Path) -> None:
    with pytest.raises(io.BodyFileError, match=rf"{key} missing from the compact body model; prepare .*prepare_body"):
        io.load_arrays(change(own, drop=(key,)))


def test_big_endian_copy_loads_equal(own: Path) -> None:
    expected = io.read_arrays(own)
    swapped = {key: lambda a: a.astype(a.dtype.newbyteorder(">")) for key in ("template", "shape_basis", "faces")}

    loaded = io.read_arrays(change(own, seal=False, **swapped))

    np.testing.assert_array_equal(loaded.shape_basis, expected.shape_basis)
    assert loaded.vertices_template.dtype == np.float32


# ---- load times -----------------------------------------------------------------------------------------------


def best_seconds(function: Callable[[], object]) -> float:
    """Of five calls, after one that brings the file into memory."""
    function()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "columns"), FULL)
def test_load_time_of_full_size_models(
    family: str, columns: int, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    model = smpl_files.make_model(family, num_vertices=smpl_files.FULL_SIZES[family], num_betas=columns)
    published = smpl_files.write_npz(tmp_path / f"{family.upper()}_NEUTRAL.npz", model)
    path = compact.write_compact(tmp_path / "own.npz", io.read_arrays(published))
    sizes = {"smpl": {10: {}, 300: {"num_betas": None}}, "smplx": {400: {"num_betas": None, "num_expression": 100}}}
    options = sizes[family][columns]
    assert isinstance(io.load_arrays(path, **options), arrays.BodyArrays)

    seconds = {
        "published .npz": best_seconds(lambda: io.load_arrays(published, **options)),
        "compact": best_seconds(lambda: io.load_arrays(path, **options)),
        "compact, 10 betas kept": best_seconds(lambda: io.load_arrays(path)),
    }

    megabytes = os.path.getsize(path) / 1e6
    times = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())
    figure(f"io.load_arrays  {family} with {columns} columns ({megabytes:.0f} MB compact): {times}")
