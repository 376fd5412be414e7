"""Rows of the public joint regressors, by name.

A joint regressor is a matrix over the vertices of the posed SMPL mesh; each row gives one place as some group of
annotators marks it. The files hold numbers only, so the names of their rows stand here. A row is called after the
place and the annotators: `left_hip_lsp`, `pelvis_mpii`, `spine_h36m`.

Those names repeat between files, because they are also the slots that annotations of the place go to: `neck_lsp` is a
row of two files and `spine_h36m` of all three, each time a matrix of its own. The points that a body gets from a file
are therefore called after row *and* file (`spine_h36m@SMPL_to_J19`, see `regressed_points`), so that one body can have
all three, and a layout says which it takes.
"""

from hardmo_jax.skeleton import lookup

#: The 14 places of LSP in the order of its files (Johnson and Everingham, 2010).
LSP14 = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)  # fmt: skip

#: Places on the middle line of MPII and Human3.6M that SPIN added to LSP's.
_MIDDLE = ("pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m")

#: The 19 rows of `SMPL_to_J19.pkl`, distributed with ProHMR and 4DHumans.
SMPL_TO_J19 = (*(f"{place}_lsp" for place in LSP14), *_MIDDLE)

#: The 9 rows of `J_regressor_extra.npy`, distributed with SPIN.
J_REGRESSOR_EXTRA = ("right_hip_lsp", "left_hip_lsp", "neck_lsp", "head_top_lsp", *_MIDDLE)

#: The 17 rows of `J_regressor_h36m.npy`, distributed with SPIN; the left leg comes first, unlike in Human3.6M itself.
#: SPIN compares `neck_h36m` and `head_h36m` with LSP's neck and top of the head.
J_REGRESSOR_H36M = tuple(
    f"{place}_h36m"
    for place in (
        "pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
        "spine", "neck", "jaw", "head",
        "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    )
)  # fmt: skip

#: Row names of each regressor, by the name of its file without the ending.
REGRESSORS: dict[str, tuple[str, ...]] = {
    "SMPL_to_J19": SMPL_TO_J19,
    "J_regressor_extra": J_REGRESSOR_EXTRA,
    "J_regressor_h36m": J_REGRESSOR_H36M,
}

_ANNOTATORS = ("lsp", "mpii", "h36m", "gt")
_FROM = "@"


def get_regressor(name: str) -> tuple[str, ...]:
    """Names of the rows of a regressor, in order.

    Raises:
        KeyError: If there is none of that name; the message holds the nearest name.
    """
    try:
        return REGRESSORS[name]
    except KeyError:
        raise KeyError(lookup.unknown_name("joint regressor", name, REGRESSORS)) from None


def regressed_point(regressor: str, row: str) -> str:
    """Name of the body point that one row makes: `left_hip_lsp@SMPL_to_J19` for `left_hip_lsp`.

    Raises:
        KeyError: If there is no such regressor or row; the message holds the nearest name.
    """
    rows = get_regressor(regressor)
    if row not in rows:
        raise KeyError(lookup.unknown_name(f"row of {regressor}", row, rows))
    return f"{row}{_FROM}{regressor}"


def regressed_points(regressor: str) -> tuple[str, ...]:
    """Names of the body points that a regressor makes, in the order of its rows: what to call them on a body.

    Raises:
        KeyError: If there is no such regressor; the message holds the nearest name.
    """
    return tuple(regressed_point(regressor, row) for row in get_regressor(regressor))


def place_of(point: str) -> str:
    """The place alone: `left_hip` for `left_hip`, `left_hip_lsp` and `left_hip_lsp@SMPL_to_J19`."""
    marked = point.partition(_FROM)[0]
    place, _, annotators = marked.rpartition("_")
    return place if annotators in _ANNOTATORS else marked
