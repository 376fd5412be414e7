"""Which file a name or folder means: the layouts people have on their disks, and guesses that must not be made."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

import hardmo_jax as hm
from hardmo_jax.body import compact, files, io
from tests.reference import smpl_files

#: What a file needs in it to pass for a model where names do not decide.
MODEL = b"... kintree_table ..."
MAX_SECONDS_A_SEARCH = 20.0  # the largest folder takes a tenth of a second; a hang takes for ever

#: The folder that the smplx package asks for.
SMPLX_PACKAGE = (
    "models/smpl/SMPL_FEMALE.pkl", "models/smpl/SMPL_MALE.pkl", "models/smpl/SMPL_NEUTRAL.pkl",
    "models/smplh/SMPLH_FEMALE.pkl", "models/smplh/SMPLH_MALE.pkl",
    "models/mano/MANO_LEFT.pkl", "models/mano/MANO_RIGHT.pkl",
    "models/smplx/SMPLX_FEMALE.npz", "models/smplx/SMPLX_FEMALE.pkl", "models/smplx/SMPLX_MALE.npz",
    "models/smplx/SMPLX_MALE.pkl", "models/smplx/SMPLX_NEUTRAL.npz", "models/smplx/SMPLX_NEUTRAL.pkl",
    "models/flame/FLAME_NEUTRAL.pkl", "models/star/STAR_FEMALE.npz",
)  # fmt: skip
#: Archives as they unpack.
PUBLISHED = (
    "SMPL_python_v.1.1.0/smpl/models/basicmodel_f_lbs_10_207_0_v1.1.0.pkl",
    "SMPL_python_v.1.1.0/smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl",
    "SMPL_python_v.1.1.0/smpl/models/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl",
    "smplh/female/model.npz", "smplh/male/model.npz", "smplh/neutral/model.npz",
    "mano_v1_2/models/MANO_LEFT.pkl", "mano_v1_2/models/MANO_RIGHT.pkl", "mano_v1_2/models/SMPLH_female.pkl",
    "mano_v1_2/models/SMPLH_male.pkl",
)  # fmt: skip
#: Everything in one folder.
FLAT = (
    "body_models/SMPL_NEUTRAL.pkl", "body_models/smpl_neutral.npz", "body_models/SMPL_FEMALE.pkl",
    "body_models/SMPLH_MALE.npz", "body_models/smplx_female.npz", "body_models/smplx_male.npz",
    "body_models/SMPL-X_NEUTRAL.npz", "body_models/mano_left.npz", "body_models/mano_right.npz",
    "body_models/README.md", "body_models/build_open_body.py",
)  # fmt: skip


def make(folder: Path, *names: str, content: bytes = MODEL) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


FOUND: list[tuple[tuple[str, ...], str, dict[str, Any], str]] = [
    # The smplx package.
    (SMPLX_PACKAGE, "models", {"family": "smpl"}, "models/smpl/SMPL_NEUTRAL.pkl"),
    (SMPLX_PACKAGE, "models", {"family": "smpl", "gender": "female"}, "models/smpl/SMPL_FEMALE.pkl"),
    (SMPLX_PACKAGE, "models", {"family": "smplx"}, "models/smplx/SMPLX_NEUTRAL.npz"),
    (SMPLX_PACKAGE, "models", {"family": "smplx", "gender": "male"}, "models/smplx/SMPLX_MALE.npz"),
    (SMPLX_PACKAGE, "models", {"family": "smplh", "gender": "male"}, "models/smplh/SMPLH_MALE.pkl"),
    (SMPLX_PACKAGE, "models", {"family": "mano", "side": "left"}, "models/mano/MANO_LEFT.pkl"),
    (SMPLX_PACKAGE, "models", {"side": "right"}, "models/mano/MANO_RIGHT.pkl"),
    (SMPLX_PACKAGE, "models/mano", {"side": "right", "gender": "neutral"}, "models/mano/MANO_RIGHT.pkl"),
    (SMPLX_PACKAGE, "models/smplx", {}, "models/smplx/SMPLX_NEUTRAL.npz"),
    (SMPLX_PACKAGE, "models/smpl", {"gender": "male"}, "models/smpl/SMPL_MALE.pkl"),
    # Published archives.
    (PUBLISHED, "SMPL_python_v.1.1.0", {}, f"{PUBLISHED[2]}"),
    (PUBLISHED, "SMPL_python_v.1.1.0", {"gender": "female"}, f"{PUBLISHED[0]}"),
    (PUBLISHED, "SMPL_python_v.1.1.0/smpl/models", {"gender": "male"}, f"{PUBLISHED[1]}"),
    (PUBLISHED, "smplh", {"gender": "female"}, "smplh/female/model.npz"),
    (PUBLISHED, "smplh", {}, "smplh/neutral/model.npz"),
    (PUBLISHED, "smplh/male", {}, "smplh/male/model.npz"),
    (PUBLISHED, "smplh/male", {"gender": "male"}, "smplh/male/model.npz"),
    (PUBLISHED, "mano_v1_2", {"side": "left"}, "mano_v1_2/models/MANO_LEFT.pkl"),
    (PUBLISHED, "mano_v1_2", {"family": "smplh", "gender": "female"}, "mano_v1_2/models/SMPLH_female.pkl"),
    # One folder.
    (FLAT, "body_models", {"family": "smpl"}, "body_models/smpl_neutral.npz"),
    (FLAT, "body_models", {"family": "smpl", "gender": "female"}, "body_models/SMPL_FEMALE.pkl"),
    (FLAT, "body_models", {"family": "smplx"}, "body_models/SMPL-X_NEUTRAL.npz"),
    (FLAT, "body_models", {"family": "smplh"}, "body_models/SMPLH_MALE.npz"),
    # Names without an ending.
    (FLAT, "body_models/smplx_female", {}, "body_models/smplx_female.npz"),
    (FLAT, "body_models/female_smplx", {}, "body_models/smplx_female.npz"),
    (FLAT, "body_models/SMPL-X", {}, "body_models/SMPL-X_NEUTRAL.npz"),
    (FLAT, "body_models/smplx", {"gender": "male"}, "body_models/smplx_male.npz"),
    (FLAT, "body_models/smpl_female", {"family": "smpl"}, "body_models/SMPL_FEMALE.pkl"),
    (FLAT, "body_models/mano_right", {}, "body_models/mano_right.npz"),
    (FLAT, "body_models/MANO", {"side": "left"}, "body_models/mano_left.npz"),
    (FLAT, "body_models/smpl+h", {}, "body_models/SMPLH_MALE.npz"),
    (FLAT, "body_models/SMPL_NEUTRAL", {}, "body_models/SMPL_NEUTRAL.pkl"),
    (SMPLX_PACKAGE, "models/smplx_female", {}, "models/smplx/SMPLX_FEMALE.npz"),
    (PUBLISHED, PUBLISHED[0].removesuffix(".pkl"), {}, PUBLISHED[0]),
    (PUBLISHED, "smplh/female/model", {}, "smplh/female/model.npz"),
    # A name that is a file is that file, with whatever words are asked for.
    (FLAT, "body_models/README.md", {"family": "smpl"}, "body_models/README.md"),
    (("SMPLX_NEUTRAL.npz", "SMPLX_NEUTRAL_2020.npz"), "SMPLX_NEUTRAL", {}, "SMPLX_NEUTRAL.npz"),
    (("SMPLX_NEUTRAL.npz", "SMPLX_NEUTRAL_2020.npz"), "SMPLX_NEUTRAL_2020", {}, "SMPLX_NEUTRAL_2020.npz"),
    (("own.pkl",), "own", {}, "own.pkl"),
    # Of the same name the archive, in any case of letters.
    (("SMPL_MALE.pkl", "SMPL_MALE.npz"), ".", {}, "SMPL_MALE.npz"),
    (("SMPL_MALE.PKL", "smpl_male.NPZ"), ".", {}, "smpl_male.NPZ"),
    (("SMPL_MALE.pkl", "SMPL_MALE.npz"), "SMPL_MALE", {}, "SMPL_MALE.npz"),
]  # fmt: skip


@pytest.mark.parametrize(("there", "asked", "words", "expected"), FOUND)
def test_name_or_folder_means_one_file(
    there: tuple[str, ...], asked: str, words: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    make(tmp_path, *there)

    assert files.find_body_file(tmp_path / asked, **words) == tmp_path / expected


@pytest.mark.parametrize(
    ("spelling", "family"),
    [
        ("SMPL-X", "smplx"), ("SMPL_X", "smplx"), ("smpl+x", "smplx"), ("SMPL X", "smplx"), ("SMPLX", "smplx"),
        ("SMPLX2020", "smplx"), ("SMPL-X2020", "smplx"), ("SMPL-H", "smplh"), ("SMPL+H", "smplh"), ("SMPL_H", "smplh"),
        ("smplh", "smplh"), ("SMPL", "smpl"), ("basicModel", "smpl"), ("Mano", "mano"),
        # Words that only begin alike.
        ("SMPLify", None), ("SMPL_HUMAN", "smpl"), ("SMPL_h36m", "smpl"), ("SMPLXMALE", None), ("manoeuvre", None),
        ("simple", None), ("smpl_xyz", "smpl"),
    ],
)  # fmt: skip
def test_family_is_read_off_every_spelling(spelling: str, family: str | None) -> None:
    assert files.family_of_name(Path(f"{spelling}_FEMALE.npz")) == family
    assert files.family_of_name(Path(f"{spelling}/model.npz")) == family


# ---- what must not be found -----------------------------------------------------------------------------------

NOT_FOUND: list[tuple[tuple[str, ...], str, dict[str, Any]]] = [
    (("SMPLX_MALE.npz",), ".", {"family": "smpl"}),
    (("smpl/SMPLX_MALE.npz",), "smpl", {}),
    (("smpl/SMPLXMALE.npz",), "smpl", {}),
    (("smpl/SMPLify_male.npz",), ".", {"family": "smpl"}),
    (("SMPL-X_MALE.npz", "SMPL+H_MALE.npz", "SMPL_H_FEMALE.pkl"), ".", {"family": "smpl"}),
    (("smplx/flame/FLAME_NEUTRAL.pkl", "smplx/STAR_FEMALE.npz"), "smplx", {}),
    (("FLAME_NEUTRAL.pkl",), ".", {}),
    (("SMPL_MALE.npz",), ".", {"gender": "female"}),
    (("SMPL_MALE.npz",), "smpl_female", {}),
    (("SMPL_MALE.npz",), ".", {"side": "left"}),
    (("MANO_LEFT.pkl",), ".", {"family": "mano", "side": "right"}),
    (("female_dancer/SMPL.npz",), ".", {"gender": "female"}),
    (("smpl/f/model.npz",), "smpl", {"gender": "female"}),
    # Hidden, half-written and foreign files.
    ((".SMPL_NEUTRAL.npz", "._SMPL_NEUTRAL.pkl", ".cache/SMPL_NEUTRAL.npz"), ".", {"family": "smpl"}),
    (("__MACOSX/smpl/._SMPL_NEUTRAL.pkl", "__MACOSX/SMPL_NEUTRAL.pkl"), ".", {"family": "smpl"}),
    ((".SMPL_NEUTRAL.npz.4711.tmp", "SMPL_NEUTRAL.npz.part", "SMPL_NEUTRAL.npz.crdownload"), ".", {"family": "smpl"}),
    (("SMPL_NEUTRAL.zip", "SMPL_NEUTRAL.npy", "SMPL_NEUTRAL.obj", "SMPL_NEUTRAL"), ".", {"family": "smpl"}),
    (("a/b/c/d/e/f/SMPL_NEUTRAL.npz",), ".", {"family": "smpl"}),
    ((), ".", {}),
]  # fmt: skip


@pytest.mark.parametrize(("there", "asked", "words"), NOT_FOUND)
def test_what_does_not_fit_is_not_guessed(
    there: tuple[str, ...], asked: str, words: dict[str, Any], tmp_path: Path
) -> None:
    make(tmp_path, *there)

    with pytest.raises(FileNotFoundError, match=r"^no .*model for .*; body_models/README\.md says where"):
        files.find_body_file(tmp_path / asked, **words)


AMBIGUOUS: list[tuple[tuple[str, ...], str, dict[str, Any], str]] = [
    (SMPLX_PACKAGE, "models", {}, "SMPL_FEMALE.pkl"),
    (SMPLX_PACKAGE, "models", {"gender": "female"}, "SMPLH_FEMALE.pkl"),
    (SMPLX_PACKAGE, "models", {"family": "smplh"}, "SMPLH_FEMALE.pkl, smplh/SMPLH_MALE.pkl"),
    (SMPLX_PACKAGE, "models", {"family": "mano"}, "mano/MANO_LEFT.pkl, mano/MANO_RIGHT.pkl"),
    (FLAT, "body_models/mano", {}, "mano_left.npz, mano_right.npz"),
    # Neutral is preferred to the genders of the same family, not to another family.
    (("SMPL_FEMALE.pkl", "SMPLX_NEUTRAL.npz"), ".", {}, "SMPLX_NEUTRAL.npz, SMPL_FEMALE.pkl"),
    (("SMPLX_NEUTRAL.npz", "SMPLX_NEUTRAL_2020.npz"), ".", {}, "SMPLX_NEUTRAL.npz, SMPLX_NEUTRAL_2020.npz"),
    (("new/SMPL_MALE.pkl", "old/SMPL_MALE.pkl"), ".", {}, "new/SMPL_MALE.pkl, old/SMPL_MALE.pkl"),
    (("npz/SMPL_MALE.npz", "pkl/SMPL_MALE.pkl"), ".", {}, "npz/SMPL_MALE.npz, pkl/SMPL_MALE.pkl"),
    (("SMPL_MALE.npz", "smpl_male.npz"), ".", {}, "SMPL_MALE.npz, smpl_male.npz"),
]


@pytest.mark.parametrize(("there", "asked", "words", "listed"), AMBIGUOUS)
def test_several_that_fit_are_listed_and_none_is_taken(
    there: tuple[str, ...], asked: str, words: dict[str, Any], listed: str, tmp_path: Path
) -> None:
    make(tmp_path, *there)

    with pytest.raises(IsADirectoryError, match="several fit") as error:
        files.find_body_file(tmp_path / asked, **words)

    assert listed in str(error.value)
    assert str(error.value).endswith("; give family=, gender= or side=, or the file")
    assert "\n" not in str(error.value)


def test_nothing_that_fits_lists_what_is_there(tmp_path: Path) -> None:
    make(tmp_path, *FLAT)

    with pytest.raises(FileNotFoundError) as error:
        files.find_body_file(tmp_path / "body_models", family="smplh", gender="female")

    assert str(error.value).startswith("no smplh female model for")
    assert "it holds SMPL-X_NEUTRAL.npz, SMPLH_MALE.npz, SMPL_FEMALE.pkl" in str(error.value)
    assert "README.md," not in str(error.value)


def test_long_listing_is_cut(tmp_path: Path) -> None:
    make(tmp_path, *(f"SMPL_MALE_{number:03}.npz" for number in range(40)))

    with pytest.raises(IsADirectoryError, match=r"SMPL_MALE_007\.npz, \.\.\.;"):
        files.find_body_file(tmp_path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"family": "SMPL-X"}, "family must be one of smpl, smplh, smplx, mano or None, got 'SMPL-X'"),
        ({"family": "mano_left"}, "family must be one of"),
        ({"gender": "f"}, "gender must be one of neutral, female, male"),
        ({"side": "both"}, "side must be one of left, right"),
    ],
)
def test_unknown_word_is_refused_with_those_that_are_known(words: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        files.find_body_file(tmp_path, **words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smplx_female", {"gender": "male"}),
        ("smplx_female", {"family": "smpl"}),
        ("mano_right", {"side": "left"}),
    ],
)
def test_argument_against_the_words_of_a_name_is_refused(name: str, words: dict[str, Any], tmp_path: Path) -> None:
    make(tmp_path, "SMPLX_FEMALE.npz", "smplx_male.npz", "SMPL_NEUTRAL.pkl", "MANO_LEFT.pkl", "MANO_RIGHT.pkl")

    with pytest.raises(ValueError, match=rf"{name} says .*, and {next(iter(words))}=.* was asked for"):
        files.find_body_file(tmp_path / name, **words)


@pytest.mark.parametrize("asked", ["SMPL_MALE.npz", "nowhere/smpl_male", "folder/whatever"])
def test_path_that_is_nothing_is_left_to_the_reader(asked: str, tmp_path: Path) -> None:
    make(tmp_path, "SMPL_NEUTRAL.npz", "folder/SMPL_MALE.npz")

    assert files.find_body_file(tmp_path / asked) == tmp_path / asked
    with pytest.raises(FileNotFoundError, match="no body model at"):
        hm.load_body(tmp_path / asked)


# ---- neighbours of models -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "beside", "words"),
    [
        ("SMPL_FEMALE.pkl", ("smpl_mean_params.npz", "SMPL_to_J19.pkl", "smpl_kid_template.npz"), {}),
        ("SMPL_FEMALE.pkl", ("female_smpl_fits.npz",), {"gender": "female"}),
        ("SMPLX_NEUTRAL.npz", ("smplx_neutral_poses.npz", "SMPL_mean_params.npz"), {}),
        ("mano/MANO_RIGHT.pkl", ("mano/MANO_SMPLX_vertex_ids.pkl",), {"family": "mano"}),
        ("own.npz", ("poses.npz", "gmm_08.pkl", "smplify_results.pkl"), {}),
    ],
)
def test_tables_and_fits_beside_a_model_are_not_taken_for_one(
    model: str, beside: tuple[str, ...], words: dict[str, Any], tmp_path: Path
) -> None:
    make(tmp_path, model)
    make(tmp_path, *beside, content=b"something else")

    assert files.find_body_file(tmp_path, **words) == tmp_path / model


def test_model_is_recognised_across_the_pieces_it_is_read_in(tmp_path: Path) -> None:
    megabyte = 1 << 20
    make(tmp_path, "smpl_a.pkl", content=bytes(megabyte - 5) + MODEL + bytes(megabyte))
    make(tmp_path, "smpl_b.pkl", content=bytes(3 * megabyte))
    make(tmp_path, "smpl_c.npz", content=MODEL + bytes(3 * megabyte))  # an archive names its arrays at its end

    assert files.find_body_file(tmp_path) == tmp_path / "smpl_a.pkl"


def test_file_of_our_own_is_recognised(tmp_path: Path) -> None:
    model = smpl_files.make_model("smpl", num_vertices=120)
    published = smpl_files.write_npz(tmp_path / "SMPL_MALE.npz", model)
    folder = make(tmp_path / "own", "smpl_mean_params.npz", content=b"something else")
    written = compact.write_compact(folder / "smpl_mine.npz", io.read_arrays(published))

    assert files.find_body_file(folder) == written
    assert hm.load_body(folder).gender == "male"


# ---- folders that are no plain folders ------------------------------------------------------------------------


def test_link_to_a_file_or_folder_is_no_second_model(tmp_path: Path) -> None:
    make(tmp_path, "smpl/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl")
    (tmp_path / "smpl" / "SMPL_NEUTRAL.pkl").symlink_to("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl")
    (tmp_path / "again").symlink_to(tmp_path / "smpl")

    assert files.find_body_file(tmp_path, family="smpl") == tmp_path / "smpl" / "SMPL_NEUTRAL.pkl"


def test_linked_folder_keeps_the_name_of_the_link(tmp_path: Path) -> None:
    make(tmp_path, "store/v1/female.npz")
    (tmp_path / "smplx").symlink_to(tmp_path / "store" / "v1")

    assert files.find_body_file(tmp_path / "smplx", family="smplx") == tmp_path / "smplx" / "female.npz"


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    make(tmp_path, "smpl/SMPL_MALE.npz")
    (tmp_path / "smpl" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "SMPL_FEMALE.npz").symlink_to("SMPL_FEMALE.npz")
    (tmp_path / "SMPL_NEUTRAL.npz").symlink_to("nothing.npz")

    assert files.find_body_file(tmp_path) == tmp_path / "smpl" / "SMPL_MALE.npz"
    with pytest.raises(FileNotFoundError, match="no body model at"):
        io.load_arrays(tmp_path / "SMPL_FEMALE.npz")


def test_folders_pipes_and_devices_called_like_models_are_none(tmp_path: Path) -> None:
    make(tmp_path, "smpl/SMPL_MALE.npz", "SMPL_NEUTRAL.npz/README.md")
    os.mkfifo(tmp_path / "SMPL_NEUTRAL.pkl")

    assert files.find_body_file(tmp_path, family="smpl") == tmp_path / "smpl" / "SMPL_MALE.npz"


def test_folder_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "open/SMPL_MALE.npz", "closed/SMPL_NEUTRAL.npz")
    scandir = os.scandir

    def guarded(folder: str | Path) -> Any:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)

    assert files.find_body_file(tmp_path) == tmp_path / "open" / "SMPL_MALE.npz"
    with pytest.raises(PermissionError, match="closed"):
        files.find_body_file(tmp_path / "closed")


def test_huge_folder_is_refused_in_time_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_SEARCHED", 500)
    make(tmp_path, "smpl/SMPL_MALE.npz", *(f"frames/{number}.jpg" for number in range(600)), content=b"")
    start = time.monotonic()

    with pytest.raises(IsADirectoryError, match=r"more than 500 files and folders, too many .*give the folder of the"):
        files.find_body_file(tmp_path, family="smpl")

    assert files.find_body_file(tmp_path / "smpl") == tmp_path / "smpl" / "SMPL_MALE.npz"
    assert time.monotonic() - start < MAX_SECONDS_A_SEARCH


def test_missing_file_beside_a_huge_folder_is_still_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MAX_SEARCHED", 50)
    make(tmp_path, *(f"{number}.jpg" for number in range(100)), content=b"")

    with pytest.raises(FileNotFoundError, match="no body model at"):
        io.load_arrays(tmp_path / "SMPL_MALE.npz")


def test_working_folder_is_searched_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "smplx/female.npz", "smplx/deep/README.md")
    monkeypatch.chdir(tmp_path / "smplx")

    assert files.find_body_file(".", family="smplx") == Path("female.npz")
    monkeypatch.chdir(tmp_path / "smplx" / "deep")
    assert files.find_body_file("..", family="smplx") == Path("../female.npz")
    monkeypatch.chdir(tmp_path)
    assert files.find_body_file("smplx_female") == Path("smplx/female.npz")


# ---- through the public door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words", "family", "gender"),
    [
        ("models", {"family": "smpl"}, "smpl", "neutral"),
        ("models", {"family": "smplx", "gender": "female"}, "smplx", "female"),
        ("models/smplx_female", {}, "smplx", "female"),
        ("models", {"family": "mano", "side": "left"}, "mano_left", "unknown"),
        ("models/mano_right", {}, "mano_right", "unknown"),
        ("models/smplh", {}, "smplh", "male"),
    ],
)
def test_load_body_loads_what_is_found(
    asked: str, words: dict[str, Any], family: str, gender: str, tmp_path: Path
) -> None:
    for name in SMPLX_PACKAGE:
        held = name.split("/")[1]
        if "SMPLH_FEMALE" in name or held in ("flame", "star"):
            continue
        held = {"MANO_LEFT": "mano_left", "MANO_RIGHT": "mano_right"}.get(Path(name).stem, held)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        writer = smpl_files.write_npz if name.endswith(".npz") else smpl_files.write_python2_pickle
        writer(tmp_path / name, smpl_files.make_model(held, num_vertices=120))

    body = hm.load_body(tmp_path / asked, **words)

    assert (body.family, body.gender) == (family, gender)


@pytest.mark.parametrize("name", ["smpl_f32", "smpl_f16", "smpl_m2", "smplx_1.5m", "SMPL_male_female", "smpl_mf_x"])
def test_gender_is_not_guessed_from_types_sizes_or_contradictions(name: str) -> None:
    assert files.gender_of_name(Path("x") / f"{name}.npz") is None


@pytest.mark.parametrize("name", ["smplx_femail", "smplx_xyz", "smplx_locked"])
def test_name_with_an_unknown_word_means_no_other_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "SMPLX_NEUTRAL.npz").touch()
    assert files.find_body_file(tmp_path / name) == tmp_path / name


def test_folders_of_the_published_archives_are_searched_as_they_come(tmp_path: Path) -> None:
    deep = tmp_path / "SMPL_python_v.1.1.0" / "SMPL_python_v.1.1.0" / "smpl" / "models"
    deep.mkdir(parents=True)
    wanted = deep / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"
    wanted.touch()
    assert files.find_body_file(tmp_path, family="smpl", gender="male") == wanted


def test_prepared_file_is_taken_beside_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "smplx").mkdir()
    model = smpl_files.make_model("smplx", num_vertices=120, num_betas=20)
    published = smpl_files.write_npz(tmp_path / "smplx" / "SMPLX_NEUTRAL.npz", model)
    prepared = compact.write_compact(tmp_path / "smplx_neutral.npz", io.read_arrays(published))
    assert files.find_body_file(tmp_path, family="smplx") == prepared
