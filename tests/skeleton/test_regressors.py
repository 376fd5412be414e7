"""Rows of the public joint regressors stand where their users look for them, and stay apart on one body."""

import pytest

from hardmo_jax.skeleton import layouts, regressors

#: Rows of J_regressor_h36m that SPIN's evaluation takes for the 14 points of LSP.
SPIN_H36M_TO_J14 = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
#: Slots of the 24 annotated points of SPIN that the 17 points of its Human3.6M reader go to.
SPIN_H36M_READER = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)


@pytest.mark.parametrize(("name", "size"), [("SMPL_to_J19", 19), ("J_regressor_extra", 9), ("J_regressor_h36m", 17)])
def test_regressor_has_its_published_number_of_rows(name, size):
    rows = regressors.get_regressor(name)
    assert len(rows) == len(set(rows)) == size
    assert regressors.regressed_points(name) == tuple(f"{row}@{name}" for row in rows)


@pytest.mark.parametrize(
    ("rows", "row", "index"),
    [(regressors.SMPL_TO_J19, "right_ankle_lsp", 0), (regressors.SMPL_TO_J19, "right_hip_lsp", 2),
     (regressors.SMPL_TO_J19, "left_hip_lsp", 3), (regressors.SMPL_TO_J19, "left_ankle_lsp", 5),
     (regressors.SMPL_TO_J19, "right_wrist_lsp", 6), (regressors.SMPL_TO_J19, "left_wrist_lsp", 11),
     (regressors.SMPL_TO_J19, "head_top_lsp", 13), (regressors.SMPL_TO_J19, "pelvis_mpii", 14),
     (regressors.SMPL_TO_J19, "head_h36m", 18), (regressors.J_REGRESSOR_EXTRA, "right_hip_lsp", 0),
     (regressors.J_REGRESSOR_EXTRA, "left_hip_lsp", 1), (regressors.J_REGRESSOR_EXTRA, "neck_lsp", 2),
     (regressors.J_REGRESSOR_EXTRA, "pelvis_mpii", 4), (regressors.J_REGRESSOR_EXTRA, "head_h36m", 8),
     (regressors.J_REGRESSOR_H36M, "pelvis_h36m", 0), (regressors.J_REGRESSOR_H36M, "head_h36m", 10)],
)  # fmt: skip
def test_row_stands_at_its_published_index(rows, row, index):
    assert rows.index(row) == index


def test_spin_selects_the_points_of_lsp_from_the_human36m_rows():
    selected = [regressors.place_of(regressors.J_REGRESSOR_H36M[index]) for index in SPIN_H36M_TO_J14]
    assert selected[:-1] == [
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck",
    ]  # fmt: skip
    assert selected[-1] == "head"  # stands for the top of the head
    assert tuple(selected[:-1]) == regressors.LSP14[:-1]


def test_human36m_rows_go_to_the_slots_that_spin_reads_human36m_into():
    annotated = layouts.get_layout("spin_49").points[25:]
    for row, slot in zip(regressors.J_REGRESSOR_H36M, SPIN_H36M_READER, strict=True):
        assert regressors.place_of(row) == regressors.place_of(annotated[slot])


def test_all_regressors_fit_on_one_body_without_ambiguity():
    points = [point for name in regressors.REGRESSORS for point in regressors.regressed_points(name)]
    assert len(set(points)) == len(points) == 19 + 9 + 17
    assert not set(points) & {*layouts.SMPL_JOINTS, *layouts.SMPLX_JOINTS, *layouts.LANDMARKS, *layouts.FACE51}


def test_unknown_regressors_and_rows_suggest_the_nearest():
    with pytest.raises(KeyError, match="SMPL_to_J19"):
        regressors.get_regressor("smpl_to_j19")
    with pytest.raises(KeyError, match="J_regressor_h36m"):
        regressors.regressed_points("J_regressor_H36M.npy")
    with pytest.raises(KeyError, match="right_hip_lsp"):
        regressors.regressed_point("J_regressor_extra", "right_hip")
    with pytest.raises(KeyError, match="row of J_regressor_extra"):
        regressors.regressed_point("J_regressor_extra", "left_ankle_lsp")


@pytest.mark.parametrize(
    ("point", "place"),
    [("left_hip", "left_hip"), ("left_hip_lsp", "left_hip"), ("left_hip_lsp@SMPL_to_J19", "left_hip"),
     ("nose_gt", "nose"), ("pelvis_mpii", "pelvis"), ("neck", "neck"), ("left_hand_root", "left_hand_root"),
     ("left_eyeball", "left_eyeball"), ("face_36", "face_36")],
)  # fmt: skip
def test_place_leaves_out_annotators_and_file(point, place):
    assert regressors.place_of(point) == place
