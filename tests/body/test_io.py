"""Model files of every family load to checked arrays; everything else that people hand over is refused by name."""

import hashlib
import io as bytes_io
import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax import safe_pickle
from hardmo_jax.body import families, io, open_body, published, regressors
from hardmo_jax.skeleton import layouts
from tests.reference import hostile_pickles, smpl_files

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = 120  # vertices; enough for 55 joints of 12 regressed vertices each
#: A refusal may need some memory for the file itself and for messages, but nothing of what a file declares.
MAX_REFUSAL_BYTES = 4_000_000

WRITERS: dict[str, Callable[[Path, dict[str, Any]], Path]] = {
    "npz": lambda stem, model: smpl_files.write_npz(stem.with_suffix(".npz"), model),
    "compressed npz": lambda stem, model: smpl_files.write_compressed_npz(stem.with_suffix(".npz"), model),
    "pickle": lambda stem, model: smpl_files.write_pickle(stem.with_suffix(".pkl"), model),
    "Python 2 pickle": lambda stem, model: smpl_files.write_python2_pickle(stem.with_suffix(".pkl"), model),
    "Python 2 text pickle": lambda stem, model: smpl_files.write_python2_pickle(
        stem.with_suffix(".pkl"), model, protocol=0
    ),
}
#: Keys of the arrays that only some families have.
HANDS = {
    "smpl": {},
    "smplh": {"left": "l", "right": "r"},
    "smplx": {"left": "l", "right": "r"},
    "mano_left": {"left": ""},
    "mano_right": {"right": ""},
}


def write(folder: Path, family: str, model: dict[str, Any], writer: str = "npz") -> Path:
    return WRITERS[writer](folder / smpl_files.published_stem(family), model)


@pytest.fixture(scope="module")
def smpl() -> dict[str, np.ndarray]:
    return smpl_files.make_model("smpl")


@pytest.fixture
def smpl_npz(tmp_path: Path, smpl: dict[str, np.ndarray]) -> Path:
    return smpl_files.write_npz(tmp_path / "SMPL_NEUTRAL.npz", smpl)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A small published file of a family by a writer; made once, not to be changed."""
    folder, made = tmp_path_factory.mktemp("published"), {}

    def file(family: str, writer: str) -> Path:
        if (family, writer) not in made:
            own = folder / writer.replace(" ", "_")
            own.mkdir(exist_ok=True)
            model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=20)
            made[family, writer] = write(own, family, model, writer)
        return made[family, writer]

    return file


# ---- what loads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.parametrize("family", smpl_files.FAMILIES)
def test_published_layout_loads_to_the_arrays_that_were_written(
    family: str, writer: str, written: Callable[[str, str], Path]
) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=20)

    loaded = io.read_arrays(written(family, writer))

    assert loaded.family == family
    np.testing.assert_array_equal(loaded.vertices_template, model["v_template"])
    np.testing.assert_array_equal(loaded.shape_basis, model["shapedirs"])
    np.testing.assert_array_equal(loaded.pose_basis, model["posedirs"])
    np.testing.assert_array_equal(loaded.joint_regressor, model["J_regressor"])
    np.testing.assert_array_equal(loaded.skinning_weights, model["weights"])
    np.testing.assert_array_equal(loaded.faces, model["f"])
    assert loaded.parents == tuple(smpl_files.PARENTS[family])
    assert loaded.joint_names == families.FAMILIES[family].joint_names
    assert loaded.gender == ("unknown" if family.startswith("mano") else "neutral")
    assert loaded.faces.dtype == np.int32
    assert loaded.joint_regressor.dtype == np.float64
    assert loaded.landmark_vertex_ids == ()


@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.parametrize("family", smpl_files.FAMILIES)
def test_hands_and_face_points_are_those_that_were_written(
    family: str, writer: str, written: Callable[[str, str], Path]
) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=20)

    loaded = io.read_arrays(written(family, writer))

    assert [side for side, _ in loaded.hands] == list(HANDS[family])
    for side, space in loaded.hands:
        suffix = HANDS[family][side]
        np.testing.assert_array_equal(space.mean.reshape(45), model[f"hands_mean{suffix}"])
        np.testing.assert_array_equal(space.components.reshape(45, 45), model[f"hands_components{suffix}"])
    if family == "smplx":
        assert loaded.face is not None
        np.testing.assert_array_equal(loaded.face.triangles, model["f"][model["lmk_faces_idx"]])
        np.testing.assert_array_equal(loaded.face.coordinates, model["lmk_bary_coords"])
    else:
        assert loaded.face is None


@pytest.mark.parametrize("family", ["smplh", "smplx", "mano_left"])
@pytest.mark.parametrize("part", ["mean", "components"])
def test_hand_without_one_of_its_arrays_has_no_space(family: str, part: str, tmp_path: Path) -> None:
    side, suffix = next(iter(HANDS[family].items()))
    model = smpl_files.make_model(family, num_vertices=SMALL)
    del model[f"hands_{part}{suffix}"]

    loaded = io.read_arrays(write(tmp_path, family, model))

    assert [name for name, _ in loaded.hands] == [name for name in HANDS[family] if name != side]


@pytest.mark.parametrize("key", ["lmk_faces_idx", "lmk_bary_coords"])
def test_smplx_without_one_of_the_face_arrays_has_no_face_points(key: str, tmp_path: Path) -> None:
    model = smpl_files.make_model("smplx", num_vertices=SMALL)
    del model[key]

    assert io.read_arrays(write(tmp_path, "smplx", model)).face is None


#: Family, columns of the shape basis in the file, how many of them are shape; the rest are expression.
COLUMNS = [
    ("smpl", 10, 10), ("smpl", 300, 300), ("smplh", 16, 16), ("smplx", 10, 10), ("smplx", 16, 16),
    ("smplx", 300, 300), ("smplx", 20, 10), ("smplx", 400, 300), ("mano_left", 10, 10),
    # Only SMPL-X has expression: the same numbers of columns are all shape elsewhere.
    ("smpl", 20, 20), ("smplh", 400, 400),
]  # fmt: skip


@pytest.mark.parametrize(("family", "columns", "shape"), COLUMNS)
def test_columns_are_shape_and_then_expression(family: str, columns: int, shape: int, tmp_path: Path) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=columns)

    loaded = io.read_arrays(write(tmp_path, family, model))

    np.testing.assert_array_equal(loaded.shape_basis, model["shapedirs"])
    assert loaded.num_expression == columns - shape


@pytest.mark.parametrize(("family", "columns", "shape"), COLUMNS)
@pytest.mark.parametrize(("num_betas", "num_expression"), [(10, None), (None, None), (3, 0), (None, 0), (4, "all")])
def test_first_columns_of_either_kind_are_kept(
    family: str, columns: int, shape: int, num_betas: int | None, num_expression: Any, tmp_path: Path
) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=columns)
    available = columns - shape
    asked = available if num_expression == "all" else num_expression

    loaded = io.load_arrays(write(tmp_path, family, model), num_betas=num_betas, num_expression=asked)

    kept_shape = shape if num_betas is None else num_betas
    kept_expression = min(10, available) if asked is None else asked
    expected = np.r_[:kept_shape, shape : shape + kept_expression]
    np.testing.assert_array_equal(loaded.shape_basis, model["shapedirs"][..., expected])
    assert loaded.num_expression == kept_expression


@pytest.mark.parametrize("layout", ["csc", "csr", "coo"])
def test_sparse_regressor_of_any_layout_loads_dense(layout: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    sparse = smpl_files.Sparse(smpl["J_regressor"], layout, f"scipy.sparse._{layout}")
    file = tmp_path / "model.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**smpl, "J_regressor": sparse}))

    np.testing.assert_array_equal(io.load_arrays(file).joint_regressor, smpl["J_regressor"])


@pytest.mark.parametrize("family", ["smpl", "smplh", "mano_right"])
def test_shape_basis_as_a_chumpy_selection_loads(family: str, tmp_path: Path) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=20)
    selection = smpl_files.chumpy_selection(model["shapedirs"], 10)
    file = tmp_path / f"{smpl_files.published_stem(family)}.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**model, "shapedirs": selection}))

    np.testing.assert_array_equal(io.read_arrays(file).shape_basis, model["shapedirs"][..., :10])


@pytest.mark.parametrize("stored", ["f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("writer", ["npz", "compressed npz", "pickle"])
def test_precision_of_the_file_is_kept(stored: str, writer: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {key: array.astype(stored) if array.dtype.kind == "f" else array for key, array in smpl.items()}

    loaded = io.load_arrays(write(tmp_path, "smpl", model, writer))

    assert loaded.vertices_template.dtype == np.dtype(stored).newbyteorder("=")
    assert loaded.joint_regressor.dtype == np.float64
    np.testing.assert_array_equal(loaded.vertices_template, model["v_template"])


def test_half_precision_loads_as_double(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    """Weights of float16 do not sum to one exactly."""
    model = {key: array.astype("f2") if array.dtype.kind == "f" else array for key, array in smpl.items()}

    loaded = io.load_arrays(write(tmp_path, "smpl", model))

    assert loaded.skinning_weights.dtype == np.float64


@pytest.mark.parametrize("writer", ["npz", "pickle"])
def test_fortran_order_loads_equal(writer: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {key: np.asfortranarray(array) for key, array in smpl.items()}

    loaded = io.load_arrays(write(tmp_path, "smpl", model, writer))

    np.testing.assert_array_equal(loaded.pose_basis, smpl["posedirs"])
    assert loaded.vertices_template.flags.c_contiguous


@pytest.mark.parametrize(
    ("root", "stored"), [(-1, "i4"), (-1, "i8"), (2**32 - 1, "u4"), (2**32 - 1, "i8"), (2**64 - 1, "u8")]
)
def test_root_parent_in_any_spelling_loads_as_minus_one(
    root: int, stored: str, tmp_path: Path, smpl: dict[str, np.ndarray]
) -> None:
    table = smpl["kintree_table"].astype(stored)
    table[0, 0] = root

    loaded = io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", {**smpl, "kintree_table": table}))

    assert loaded.parents[0] == -1


#: The points of our landmarks in the spelling of smplx.
_SMPLX_SPELLING = {"big_toe": "BigToe", "small_toe": "SmallToe", "heel": "Heel"}


def _smplx_name(landmark: str, family: str) -> str:
    side, _, place = landmark.partition("_")
    if landmark == "nose":
        return landmark
    if place in _SMPLX_SPELLING:
        return side[0].upper() + _SMPLX_SPELLING[place]
    place = place.removesuffix("_tip")
    return place if family.startswith("mano") else side[0] + place


@pytest.mark.parametrize("family", smpl_files.FAMILIES)
def test_published_topology_has_the_landmarks_of_smplx(family: str) -> None:
    vertex_ids = pytest.importorskip("smplx", reason="comparison needs the `bench` extra").vertex_ids.vertex_ids
    theirs = vertex_ids["mano" if family.startswith("mano") else "smplx" if family == "smplx" else "smplh"]
    model = smpl_files.make_model(family, num_vertices=smpl_files.FULL_SIZES[family], num_betas=1)
    side = families.FAMILIES[family].hand_sides[-1] if family.startswith("mano") else None

    loaded = published.from_published(model, memoryview(b""), source="model.npz", gender="unknown", side=side)

    assert {_smplx_name(name, family): vertex for name, vertex in loaded.landmark_vertex_ids} == theirs
    assert len(loaded.landmark_vertex_ids) == len(theirs)


def test_same_number_of_vertices_in_other_triangles_has_no_landmarks(smpl: dict[str, np.ndarray]) -> None:
    model = smpl_files.make_model("mano_left", num_vertices=778)
    model["f"] = model["f"][:-1]

    loaded = published.from_published(model, memoryview(b""), source="model.npz", gender="unknown", side="left")

    assert loaded.landmark_vertex_ids == ()


def test_checksum_and_source_name_the_file(smpl_npz: Path) -> None:
    loaded = io.load_arrays(str(smpl_npz))

    assert loaded.checksum == hashlib.sha256(smpl_npz.read_bytes()).hexdigest()
    assert loaded.source == "SMPL_NEUTRAL.npz"


@pytest.mark.parametrize("writer", ["npz", "compressed npz", "pickle"])
def test_arrays_are_read_only(writer: str, written: Callable[[str, str], Path]) -> None:
    loaded = io.load_arrays(written("smplx", writer), num_betas=4)

    assert loaded.face is not None
    spaces = [array for _, space in loaded.hands for array in space]
    for array in (
        loaded.vertices_template, loaded.shape_basis, loaded.pose_basis, loaded.joint_regressor,
        loaded.skinning_weights, loaded.faces, *spaces, *loaded.face,
    ):  # fmt: skip
        assert array is not None
        assert not array.flags.writeable


def test_format_is_told_by_content_not_by_name(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = smpl_files.write_npz(tmp_path / "model.npz", smpl).rename(tmp_path / "model.pkl")

    assert io.load_arrays(file).family == "smpl"


def test_objects_beside_the_needed_arrays_do_not_matter(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = tmp_path / "model.npz"
    np.savez(file, allow_pickle=True, **smpl, joint2num=np.array({"pelvis": 0}, dtype=object))

    assert io.load_arrays(file).family == "smpl"


def test_reading_imports_neither_jax_nor_scipy(smpl_npz: Path) -> None:
    code = (
        "import sys; from hardmo_jax.body import io, open_body; "
        f"io.load_arrays({str(smpl_npz)!r}); sys.exit(any(m in sys.modules for m in ('jax', 'scipy')))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


# ---- names and arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gender"),
    [
        ("SMPL_NEUTRAL.npz", "neutral"), ("SMPLX_FEMALE.npz", "female"), ("smplh_male.npz", "male"),
        ("basicmodel_f_lbs_10_207_0_v1.1.0.npz", "female"), ("basicModel_m_lbs_10_207_0_v1.0.0.npz", "male"),
        ("female/model.npz", "female"), ("smplh/male/model.npz", "male"), ("SMPLH_FEMALE/model.npz", "female"),
        ("male/SMPL_FEMALE.npz", "female"), ("model.npz", "unknown"),
        # A letter in any other name, and a folder that is called after people, are no genders.
        ("m/model.npz", "unknown"), ("model_f.npz", "unknown"), ("female_dancer/model.npz", "unknown"),
    ],
)  # fmt: skip
def test_gender_is_read_off_the_name(name: str, gender: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = tmp_path / "x" / name
    file.parent.mkdir(parents=True)

    assert io.load_arrays(smpl_files.write_npz(file, smpl)).gender == gender


def test_gender_by_argument_names_a_file_that_does_not_say(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    assert io.load_arrays(smpl_files.write_npz(tmp_path / "a.npz", smpl), gender="male").gender == "male"


@pytest.mark.parametrize("side", ["left", "right"])
def test_side_of_a_hand_is_by_argument_or_name(side: str, tmp_path: Path) -> None:
    model = smpl_files.make_model("mano_left", num_vertices=SMALL)

    named = io.load_arrays(smpl_files.write_npz(tmp_path / f"MANO_{side.upper()}.npz", model))
    told = io.load_arrays(smpl_files.write_npz(tmp_path / "hand.npz", model), side=side)

    assert named.family == told.family == f"mano_{side}"


ARGUMENTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a hand without a side": ("mano_left", "hand.npz", {}, r"MANO hand, and nothing says which: give side='left'"),
    "a side against the name": ("mano_left", "MANO_LEFT.npz", {"side": "right"}, r"left hand by its name, .*'right'"),
    "a side of a body": ("smpl", "SMPL_MALE.npz", {"side": "left"}, r"holds SMPL, and side='left' was asked for"),
    "a gender against the name": ("smpl", "SMPL_MALE.npz", {"gender": "female"}, r"a male model by its name, .*female"),
    "an unknown gender": ("smpl", "a.npz", {"gender": "woman"}, r"gender must be one of neutral, female, male"),
    "an unknown side": ("mano_left", "a.npz", {"side": "l"}, r"side must be one of left, right"),
    "an unknown family": ("smpl", "a.npz", {"family": "SMPL-X"}, r"family must be one of smpl, smplh, smplx, mano"),
    "SMPL for SMPL-X": ("smpl", "a.npz", {"family": "smplx"}, r"SMPL model \(24 joints\), .*give family='smpl'"),
    "SMPL-X for SMPL": ("smplx", "a.npz", {"family": "smpl"}, r"SMPL-X model \(55 joints\), .*'smpl' was asked"),
    "MANO for SMPL-H": ("mano_left", "left.npz", {"family": "smplh"}, r"MANO left model \(16 joints\)"),
    "400 of 300 coefficients": ("smpl", "a.npz", {"num_betas": 400}, r"300 shape .*asks for 400; ask for at most 300$"),
    "expression of SMPL": ("smpl", "a.npz", {"num_expression": 10}, r"0 expression .*asks for 10; ask for at most 0$"),
    "301 of 300 + 100": ("smplx", "a.npz", {"num_betas": 301}, r"has 300 shape .*asks for 301"),
    "101 of 300 + 100": ("smplx", "a.npz", {"num_expression": 101}, r"has 100 expression .*asks for 101"),
    "no coefficients": ("smpl", "a.npz", {"num_betas": 0}, r"num_betas must be at least 1"),
    "negative coefficients": ("smpl", "a.npz", {"num_betas": -3}, r"num_betas must be at least 1"),
    "negative expression": ("smplx", "a.npz", {"num_expression": -1}, r"num_expression 0, got 10 and -1"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", list(ARGUMENTS))
def test_argument_that_does_not_fit_the_file_is_refused(mistake: str, tmp_path: Path) -> None:
    family, name, options, reason = ARGUMENTS[mistake]
    columns = {"smpl": 300, "smplx": 400}.get(family, 10)
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=columns)

    with pytest.raises(ValueError, match=reason) as error:
        io.load_arrays(smpl_files.write_npz(tmp_path / name, model), **options)

    assert "\n" not in str(error.value)


def test_load_body_refuses_another_family_than_asked_for(smpl_npz: Path) -> None:
    with pytest.raises(io.BodyFileError, match=r"SMPL_NEUTRAL\.npz is a .*24 joints.*smplx"):
        hm.load_body(smpl_npz, family="smplx")


# ---- what is refused ------------------------------------------------------------------------------------------


def test_missing_file_says_what_was_expected_and_where_to_get_it(tmp_path: Path, smpl_npz: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        io.load_arrays(tmp_path / "SMPL_MALE.npz")

    for part in (
        str(tmp_path / "SMPL_MALE.npz"), "SMPL", "body_models/README.md", "hm.open_body()", "SMPL_NEUTRAL.npz",
    ):  # fmt: skip
        assert part in str(error.value)


def test_missing_folder_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no body model at"):
        io.load_arrays(tmp_path / "nowhere" / "SMPL_MALE.npz")


def test_folder_is_refused_with_who_searches_one(tmp_path: Path, smpl_npz: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"is a folder where .* hm\.load_body"):
        io.load_arrays(tmp_path)


WRONG_FILES = {
    "a JPEG image": b"\xff\xd8\xff\xe0" + bytes(100),
    "JSON text": json.dumps({"v_template": [[0.0, 0.0, 0.0]]}).encode(),
    "plain text": b"v 0.0 0.1 0.2\nv 0.3 0.4 0.5\nf 1 2 3\n",
    "an HTML or XML page": b"<html>please log in</html>",
    "a single NumPy .npy array": b"\x93NUMPY\x01\x00",
    "the file is empty": b"",
    "damaged pickle": b"\x80\x04\x95\x00",
    "holds a list": b"\x80\x02]q\x00.",
    "no kintree_table": b"\x80\x02}q\x00.",
    "a zip archive without arrays": b"",
    "damaged or cut-off .npz": b"PK\x03\x04" + bytes(50),
}


@pytest.mark.parametrize("kind", list(WRONG_FILES))
@pytest.mark.parametrize("ending", [".pkl", ".npz"])
def test_file_that_is_no_model_is_named_for_what_it_is(kind: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"photo{ending}"
    file.write_bytes(WRONG_FILES[kind])
    if kind == "a zip archive without arrays":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("checkpoint/data.pkl", b"x")

    with pytest.raises(io.BodyFileError, match=kind) as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)


MATRICES: dict[str, tuple[str, bytes, str]] = {
    "a vector": ("a.npy", b"", r"the matrix must have shape \(K, V\), got \(3,\)"),
    "a picture": ("a.npy", WRONG_FILES["a JPEG image"], r"is a JPEG image, not a regressor; a \.npy or \.pkl"),
    "an archive": ("a.npz", b"PK\x03\x04" + bytes(50), r"is a zip archive, not a regressor; a \.npy or \.pkl file"),
    "a dict": ("a.pkl", b"\x80\x02}q\x00.", r"the matrix must be an array of numbers, got dict"),
    "a damaged pickle": ("a.pkl", b"\x80\x04\x95\x00", r"damaged pickle: .*, if it is a regressor"),
    "nothing": ("a.npy", b"", r"the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(MATRICES))
def test_file_that_is_no_matrix_is_named_for_what_it_is(kind: str, tmp_path: Path) -> None:
    name, data, reason = MATRICES[kind]
    file = tmp_path / name
    file.write_bytes(data)
    if kind == "a vector":
        np.save(file, np.ones(3))

    with pytest.raises(io.BodyFileError, match=reason):
        io.load_matrix(file)


def test_missing_matrix_is_not_called_a_body_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no regressor at .*a\.npy; a \.npy or \.pkl file"):
        io.load_matrix(tmp_path / "a.npy")
    with pytest.raises(IsADirectoryError, match="a folder where a regressor is meant"):
        io.load_matrix(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.parametrize("family", smpl_files.FAMILIES)
def test_file_cut_off_is_refused(
    family: str, writer: str, share: float, tmp_path: Path, written: Callable[[str, str], Path]
) -> None:
    whole = written(family, writer)
    file = tmp_path / whole.name
    data = whole.read_bytes()
    file.write_bytes(data[: int(share * len(data))])

    with pytest.raises(io.BodyFileError, match=r"cut off|cut-off") as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f"])
def test_missing_array_is_named(key: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {name: array for name, array in smpl.items() if name != key}

    with pytest.raises(io.BodyFileError, match=f"{key} missing"):
        io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", model))


def _with(**changes: Callable[[np.ndarray], Any]) -> Callable[[dict[str, np.ndarray]], dict[str, Any]]:
    return lambda model: {**model, **{key: change(model[key].copy()) for key, change in changes.items()}}


def _with_a_debt(weights: np.ndarray) -> np.ndarray:
    """Rows that sum to one by a share of -9."""
    weights[:, 0] += 9
    weights[:, 1] -= 9
    return weights


def _set(index: Any, number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = number
        return array

    return change


def _tree_of(num_joints: int) -> Callable[[dict[str, np.ndarray]], dict[str, Any]]:
    return _with(kintree_table=lambda a: np.zeros((2, num_joints), int))


WRONG_CONTENTS: dict[str, tuple[str, Callable[[dict[str, np.ndarray]], dict[str, Any]], str]] = {
    "flat vertices": ("smpl", _with(v_template=np.ravel), r"v_template must have shape \(V, 3\), got \(360,\)"),
    "no vertices": ("smpl", _with(v_template=lambda a: a[:0]), r"v_template must have shape"),
    "a basis of other vertices": (
        "smpl", _with(shapedirs=lambda a: a[:-1]), r"shapedirs must have shape \(120, 3, S\)",
    ),
    "an empty basis": ("smpl", _with(shapedirs=lambda a: a[..., :0]), r"shapedirs must have shape"),
    "a flat pose basis": (
        "smpl", _with(posedirs=lambda a: a.reshape(-1, 207)), r"posedirs .*\(120, 3, 207\), got \(360, 207\)",
    ),
    "a STAR pose basis": ("smpl", _with(posedirs=lambda a: a[..., :93]), r"STAR model"),
    "a transposed regressor": ("smpl", _with(J_regressor=np.transpose), r"J_regressor .*stored transposed"),
    "weights of other joints": ("smpl", _with(weights=lambda a: a[:, :-1]), r"weights must have shape \(120, 24\)"),
    "quads for triangles": ("smpl", _with(f=lambda a: a[:, [0, 1, 2, 0]]), r"f must have shape \(F, 3\)"),
    "float faces": ("smpl", _with(f=lambda a: a.astype(float)), r"f must be integers"),
    "faces beyond the mesh": ("smpl", _with(f=_set((0, 0), 120)), r"names vertices 0 to 120, the model has 120"),
    "a mesh in millimetres": ("smpl", _with(v_template=lambda a: 1000 * a), r"v_template is 1\d+ across, so not a"),
    "a regressor a thousandfold": ("smpl", _with(J_regressor=lambda a: 1000 * a), r"J_regressor must average vertices"),
    "weights that are no shares": ("smpl", _with(weights=_with_a_debt), r"are shares"),
    "weights that do not sum to one": ("smpl", _with(weights=_set((7, 0), 5.0)), r"those of vertex 7 sum to 6"),
    "text for numbers": ("smpl", _with(weights=lambda a: a.astype("U8")), r"weights must be an array of numbers"),
    "complex numbers": ("smpl", _with(weights=lambda a: a + 1j), r"weights must be an array of numbers|does not read"),
    "a tree with a cycle": ("smpl", _with(kintree_table=_set((0, 4), 7)), r"no tree.*joint 4 has parent 7"),
    "a joint as its own parent": ("smplh", _with(kintree_table=_set((0, 4), 4)), r"joint 4 has parent 4"),
    "a tree with two roots": ("smplx", _with(kintree_table=_set((0, 4), 2**32 - 1)), r"joint 4 has parent -1"),
    "a tree without a root": ("mano_left", _with(kintree_table=_set((0, 0), 0)), r"joint 0 has parent 0"),
    "another tree": (
        "smpl", _with(kintree_table=_set((0, 4), 2)), r"not the tree of smpl: joint 4 \(left_knee\) hangs at 2",
    ),
    "another tree of SMPL-X": (
        "smplx", _with(kintree_table=_set((0, 22), 12)), r"not the tree of smplx: joint 22 \(jaw\) hangs at 12, not 15",
    ),
    "joints out of order": ("smpl", _with(kintree_table=_set((1, 4), 9)), r"does not count"),
    "a flat tree": ("smpl", _with(kintree_table=lambda a: a[0]), r"kintree_table must be integers of shape"),
    "a float tree": ("smpl", _with(kintree_table=lambda a: a.astype(float)), r"kintree_table must be integers"),
    "a FLAME tree": ("smpl", _tree_of(5), r"a FLAME model \(5 joints\), which is not supported; .*SMPL-X 55"),
    "a SMAL tree": ("smpl", _tree_of(33), r"a SMAL model \(33 joints\), which is not supported"),
    "a tree of 30 joints": ("smpl", _tree_of(30), r"30 joints; joints of what is read: SMPL 24, SMPL-H 52"),
    "an SMPL tree on SMPL-X arrays": (
        "smplx", lambda model: {**model, "kintree_table": smpl_files.make_model("smpl")["kintree_table"]},
        r"posedirs must have shape \(120, 3, 207\), got \(120, 3, 486\); that is the size for SMPL-X, .*tree of SMPL",
    ),
    "SMPL-X weights on SMPL": (
        "smpl", _with(weights=lambda a: np.pad(a, ((0, 0), (0, 31)))), r"weights .*that is the size for SMPL-X",
    ),
    "components of too few joints": (
        "smplh", _with(hands_componentsl=lambda a: a[:, :42]), r"hands_componentsl must have shape \(N, 45\), got",
    ),
    "no components": (
        "mano_left", _with(hands_components=lambda a: a[:0]), r"hands_components must have shape \(N, 45\), got \(0,",
    ),
    "components as a block": (
        "smplx", _with(hands_componentsr=lambda a: a.reshape(45, 15, 3)), r"hands_componentsr must have shape",
    ),
    "a mean hand of other joints": (
        "smplx", _with(hands_meanr=lambda a: a[:44]), r"hands_meanr must have shape \(45\), got \(44,\)",
    ),
    "50 face points": ("smplx", _with(lmk_faces_idx=lambda a: a[:50]), r"lmk_faces_idx must have shape \(51\)"),
    "a face point beyond the mesh": (
        "smplx", _with(lmk_faces_idx=_set(3, 236)), r"lmk_faces_idx must be .* 0 to 235, got int64 from . to 236",
    ),
    "a negative face point": ("smplx", _with(lmk_faces_idx=_set(3, -1)), r"lmk_faces_idx must be triangles"),
    "fractions of triangles": (
        "smplx", _with(lmk_faces_idx=lambda a: a + 0.5), r"lmk_faces_idx must be triangles .*got float64",
    ),
    "face points off their triangles": (
        "smplx", _with(lmk_bary_coords=_set((4, 0), 3.0)), r"face point must sum to 1, those of point 4 sum to",
    ),
    "the open body": ("smpl", lambda model: smpl_files.make_open_body(), r"is this package's open body"),
}  # fmt: skip


@pytest.mark.parametrize("writer", ["npz", "pickle"])
@pytest.mark.parametrize("fault", list(WRONG_CONTENTS))
def test_wrong_content_is_refused_with_its_reason(fault: str, writer: str, tmp_path: Path) -> None:
    family, change, reason = WRONG_CONTENTS[fault]
    file = write(tmp_path, family, change(smpl_files.make_model(family, num_vertices=SMALL)), writer)

    with pytest.raises(io.BodyFileError, match=reason) as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)
    assert file.name in str(error.value)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("family", "key"),
    [
        (family, key)
        for family in smpl_files.FAMILIES
        for key in smpl_files.make_model(family, num_vertices=SMALL)
        if family in ("smplx", "mano_left") or not key.startswith("hands")
    ],
)
def test_number_that_is_not_finite_is_refused_in_every_array(
    family: str, key: str, number: float, tmp_path: Path
) -> None:
    model = smpl_files.make_model(family, num_vertices=SMALL)
    model[key] = model[key].astype(float)
    model[key].flat[-1] = number

    with pytest.raises(io.BodyFileError, match=rf"{key} has 1 values that are NaN or infinite; download"):
        io.load_arrays(write(tmp_path, family, model))


def test_needed_chumpy_expression_is_refused_by_key(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    expression = smpl_files.Chumpy({"a": np.ones(3)}, "chumpy.ch_ops add")
    file = tmp_path / "model.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**smpl, "v_template": expression}))

    with pytest.raises(io.BodyFileError, match=r"v_template is a chumpy expression \(chumpy\.ch_ops\.add\)"):
        io.load_arrays(file)


# ---- files that promise too much ------------------------------------------------------------------------------


def _pickled_array(shape: tuple[int, ...]) -> bytes:
    encode = smpl_files.Python2Pickle(2).encode
    return b"\x80\x02" + hostile_pickles.array(encode(shape), hostile_pickles.dtype(), encode("x" * 64)) + b"."


def _sparse(shape: tuple[int, int]) -> bytes:
    """A whole model but for a regressor of a few bytes that would be gigabytes when spelled out."""
    model = smpl_files.make_model("smpl", num_vertices=SMALL)
    sparse = smpl_files.Chumpy(
        {"shape": shape, "data": np.ones(1), "row": np.zeros(1, np.int32), "col": np.zeros(1, np.int32)},
        "scipy.sparse.coo coo_matrix",
    )
    return smpl_files.Python2Pickle(2).dump({**model, "J_regressor": sparse})


#: Small files that declare two gigabytes.
PROMISES: dict[str, bytes] = {
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2 << 30) + b"x.",
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2 << 30) + b"x.",
    "text of Python 2": b"\x80\x02T" + struct.pack("<I", 2 << 30) + b"x.",
    "text of Python 3": b"\x80\x03X" + struct.pack("<I", 2 << 30) + b"x.",
    "a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2 << 30) + b"x.",
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 2 << 30) + b"N.",
    "an integer": b"\x80\x02\x8b" + struct.pack("<i", (2 << 30) - 1) + b"\x01.",
    "an array": _pickled_array((1 << 28,)),
    "an array of arrays": _pickled_array((6890, 3, 12_000)),
    "a sparse regressor": _sparse((24, 1 << 24)),
    "a sparse regressor below the cap": _sparse((24, 1 << 20)),
    "a text of digits": b"I" + b"9" * 1_000_000 + b"\n.",
}


@pytest.mark.parametrize("promise", list(PROMISES))
def test_pickle_that_declares_gigabytes_is_refused_without_them(promise: str, tmp_path: Path) -> None:
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    file.write_bytes(PROMISES[promise])

    tracemalloc.start()
    try:
        with pytest.raises((io.BodyFileError, safe_pickle.UnsafePickleError)) as error:
            io.load_arrays(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < MAX_REFUSAL_BYTES
    assert "\n" not in str(error.value)


def test_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    with file.open("wb") as sparse:
        sparse.truncate(3 << 30)

    tracemalloc.start()
    try:
        with pytest.raises(io.BodyFileError, match="max_file_bytes"):
            io.load_arrays(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < MAX_REFUSAL_BYTES


def test_file_above_the_size_cap_is_refused(smpl_npz: Path) -> None:
    with pytest.raises(io.BodyFileError, match="max_file_bytes"):
        io.load_arrays(smpl_npz, max_file_bytes=1000)


def test_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(io.BodyFileError, match="not a regular file"):
        io.load_arrays("/dev/zero")


# ---- files that would run code --------------------------------------------------------------------------------

#: All that Python's own reader would execute, and those that attack a reader itself without taking seconds.
ATTACKS = {
    **hostile_pickles.LIVE,
    **{
        name: hostile_pickles.HOSTILE[name]
        for name in (
            "a persistent id", "a persistent id in binary", "an EXT1 code", "an EXT2 code", "an EXT4 code", "NEWOBJ_EX",
            "BUILD planting a __setstate__", "BUILD on a dict", "a scalar of objects", "a record dtype",
            "_reconstruct of another class", "copyreg with another base", "a look-alike of chumpy",
            "a chumpy name with a dot", "chumpy with arguments", "billion laughs through the memo",
            "billion laughs through DUP", "tuples nested a quarter of a million deep", "a huge integer",
            "a memo index that claims gigabytes", "a dotted name below numpy", "a list that contains itself",
        )
    },
}  # fmt: skip
DOORS: dict[str, Callable[[Path], object]] = {
    "as a body": lambda file: hm.load_body(file),
    "as the body of a folder": lambda file: hm.load_body(file.parent, family="smpl", gender="female"),
    "as the body of a name": lambda file: hm.load_body(file.parent / "smpl_female"),
    "as a regressor": lambda file: regressors.load_regressor(file, names=("nose",)),
}


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("attack", list(ATTACKS))
def test_hostile_pickle_is_refused_and_runs_nothing(attack: str, door: str, tmp_path: Path) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "models" / "smpl"
    folder.mkdir(parents=True)
    file = folder / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl"
    file.write_bytes(ATTACKS[attack](canary))

    with pytest.raises((safe_pickle.UnsafePickleError, io.BodyFileError)) as error:
        DOORS[door](file)

    assert not canary.exists()
    assert "\n" not in str(error.value)
    assert file.name in str(error.value)


@pytest.mark.parametrize("attack", list(hostile_pickles.LIVE))
def test_hostile_pickle_inside_an_archive_is_refused_and_runs_nothing(attack: str, tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "SMPL_NEUTRAL.npz"
    model = smpl_files.make_model("smpl", num_vertices=SMALL)
    smpl_files.write_npz(file, {key: array for key, array in model.items() if key != "posedirs"})
    header = bytes_io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("posedirs.npy", header.getvalue() + hostile_pickles.LIVE[attack](canary))

    with pytest.raises(io.BodyFileError, match="Python object"):
        hm.load_body(file)

    assert not canary.exists()


def test_search_looks_for_words_in_hostile_files_and_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name, attack in (("smpl_a.pkl", "os.system"), ("smpl_b.pkl", "builtins.exec"), ("smpl_c.npz", "runpy")):
        (tmp_path / name).write_bytes(hostile_pickles.LIVE[attack](canary) + b"kintree_table")

    with pytest.raises(IsADirectoryError, match=r"several fit \(smpl\): it holds smpl_a\.pkl, smpl_b\.pkl"):
        hm.load_body(tmp_path, family="smpl")

    assert not canary.exists()


# ---- the package's own body -------------------------------------------------------------------------------------


def open_bytes(**changes: Any) -> bytes:
    buffer = bytes_io.BytesIO()
    np.savez_compressed(buffer, **{**smpl_files.make_open_body(), **changes})
    return buffer.getvalue()


@pytest.mark.parametrize(("view", "num_joints"), [("smpl", 24), ("smplh", 52)])
def test_open_body_has_the_tree_of_its_view(view: Any, num_joints: int) -> None:
    loaded = open_body.read_open_body(open_bytes(), view)

    assert loaded.family == view
    assert loaded.parents == tuple(smpl_files.PARENTS[view])
    assert loaded.joint_regressor.shape == (num_joints, 400)
    assert loaded.skinning_weights.shape == (400, num_joints)
    assert loaded.pose_basis is None
    assert loaded.landmark_vertex_ids == (("nose", 3), ("left_heel", 5))


def test_open_body_in_full_view_has_the_stored_values() -> None:
    stored = smpl_files.make_open_body()

    loaded = open_body.read_open_body(open_bytes(), "smplh")

    taken = loaded.joint_regressor[stored["J_regressor_row"], stored["J_regressor_col"]]
    np.testing.assert_array_equal(taken, stored["J_regressor_val"])
    np.testing.assert_array_equal(
        np.take_along_axis(loaded.skinning_weights, stored["weights_index"].astype(int), axis=1),
        stored["weights_value"],
    )


def test_open_body_folds_each_hand_into_one_joint() -> None:
    full = open_body.read_open_body(open_bytes(), "smplh")
    folded = open_body.read_open_body(open_bytes(), "smpl")

    for hand, side in ((22, "left"), (23, "right")):
        fingers = [j for j, n in enumerate(layouts.SMPLH_JOINTS) if j > 21 and n.startswith(side)]
        root = layouts.SMPLH_JOINTS.index(f"{side}_middle1")
        np.testing.assert_array_equal(folded.joint_regressor[hand], full.joint_regressor[root])
        np.testing.assert_allclose(
            folded.skinning_weights[:, hand], full.skinning_weights[:, fingers].sum(axis=1), rtol=1e-6
        )
    np.testing.assert_array_equal(folded.joint_regressor[:22], full.joint_regressor[:22])
    np.testing.assert_array_equal(folded.skinning_weights[:, :22], full.skinning_weights[:, :22])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format_version": np.array(9)}, "format_version must be 1"),
        ({"joint_names": np.array(["a"] * 52)}, "joint_names are not"),
        ({"kintree_table": np.zeros((2, 52), int)}, "not the tree of SMPL-H"),
        ({"weights_index": np.full((400, 4), 60, np.uint8)}, "names a joint outside"),
        ({"weights_value": np.ones((400, 4))}, "must sum to 1"),
        ({"landmark_vertex_ids": np.array([3, 400])}, "outside the mesh"),
        ({"v_template": np.full((400, 3), np.nan)}, "not made of finite numbers"),
    ],
)
def test_open_body_with_wrong_content_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(io.BodyFileError, match=reason):
        open_body.read_open_body(open_bytes(**changes), "smpl")


def test_open_body_of_an_unknown_view_is_refused() -> None:
    # With the run-time type checks of the tests it is the annotation that refuses.
    with pytest.raises((ValueError, TypeError), match="smplh"):
        open_body.load_open_body_arrays("smplx")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_packaged_open_body_loads(view: Any) -> None:
    if not (Path(open_body.__file__).parent / "assets" / "open_body.npz").exists():
        pytest.skip("body/assets/open_body.npz is not built; run body_models/build_open_body.py")

    loaded = open_body.load_open_body_arrays(view)

    assert loaded.shape_basis.shape[-1] == 10
    assert set(dict(loaded.landmark_vertex_ids)) >= set(layouts.LANDMARKS)
