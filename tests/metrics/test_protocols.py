"""Protocols, pinned: lists by published index, roots, thresholds, boxes; and what stands in without a regressor."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.metrics import keypoints, protocols
from hardmo_jax.skeleton import layouts, mapping, regressors

BODY17 = [0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
TIPS = list(range(44, 54))

#: Everything a protocol decides, by index in its layout. A change here is a change of published meaning.
GOLDEN = {
    "hardmo": {
        "layout": ("hardmo_54", 54),
        "sets": {
            "body": (BODY17, True, True, True),
            "foot": ([19, 20, 21, 22, 23, 24], True, True, True),
            "hand": ([4, 7, *TIPS], True, True, True),
            "left_body": ([5, 6, 7, 12, 13, 14, 16, 18], True, True, True),
            "right_body": ([2, 3, 4, 9, 10, 11, 15, 17], True, True, True),
            "left_foot": ([19, 20, 21], True, False, True),
            "right_foot": ([22, 23, 24], True, False, True),
            "left_hand": ([7, 44, 45, 46, 47, 48], True, False, True),
            "right_hand": ([4, 49, 50, 51, 52, 53], True, False, True),
        },
        "root": [39],
        "body_set": "body",
        "parts": {
            "left_foot": ([19, 20, 21], 14),
            "right_foot": ([22, 23, 24], 11),
            "left_hand": ([44, 45, 46, 47, 48], 7),
            "right_hand": ([49, 50, 51, 52, 53], 4),
        },
        "arms": {"left_arm": [6, 7, 44, 45, 46, 47, 48], "right_arm": [3, 4, 49, 50, 51, 52, 53]},
        "box": (1.2, False),
        "confidence": 0.5,
        "thresholds": (0.01, 0.05),
    },
    "4dhumans": {
        "layout": ("hmr2_44", 44),
        "sets": {
            "body": ([*range(25, 38), 43], True, True, False),
            "all": (list(range(44)), False, False, True),
        },
        "root": [39],
        "body_set": "body",
        "parts": {},
        "arms": {},
        "box": (1.2, True),
        "confidence": 0.5,
        "thresholds": (0.05, 0.1),
    },
    "3dpw14": {
        "layout": ("h36m_17", 17),
        "sets": {"body": ([6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10], True, True, False)},
        "root": [0],
        "body_set": "body",
        "parts": {},
        "arms": {},
        "box": (1.2, False),
        "confidence": 0.5,
        "thresholds": (),
    },
    "smpl14": {
        "layout": ("smpl24", 24),
        "sets": {"body": ([1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21, 12, 15], True, True, False)},
        "root": [0],
        "body_set": "body",
        "parts": {},
        "arms": {},
        "box": (1.2, False),
        "confidence": 0.5,
        "thresholds": (),
    },
    "smpl24": {
        "layout": ("smpl24", 24),
        "sets": {"joints": (list(range(24)), True, True, False)},
        "root": [0],
        "body_set": "joints",
        "parts": {},
        "arms": {},
        "box": (1.2, False),
        "confidence": 0.5,
        "thresholds": (),
    },
}


def decisions(protocol):
    def indices(points):
        return list(protocol.layout.indices(points))

    return {
        "layout": (protocol.layout.name, len(protocol.layout)),
        "sets": {s.name: (indices(s.points), s.has_mpjpe, s.has_pa, s.has_pck) for s in protocol.point_sets},
        "root": indices(protocol.root),
        "body_set": protocol.body_set,
        "parts": {p.name: (indices(p.points), protocol.layout.index(p.base)) for p in protocol.rigid_parts},
        "arms": {a.name: indices(a.points) for a in protocol.arms},
        "box": (protocol.box.scale, protocol.box.is_scaled),
        "confidence": protocol.min_confidence,
        "thresholds": protocol.pck_thresholds,
    }


@pytest.mark.parametrize("name", list(GOLDEN))
def test_a_protocol_decides_what_was_published(name):
    assert decisions(protocols.get_protocol(name)) == GOLDEN[name]


def test_every_protocol_is_pinned():
    assert set(GOLDEN) == set(protocols.PROTOCOLS)


def test_an_unknown_protocol_or_set_suggests_the_nearest():
    with pytest.raises(KeyError, match="4dhumans"):
        protocols.get_protocol("4d_humans")
    with pytest.raises(KeyError, match="left_foot"):
        protocols.get_protocol("hardmo").point_set("leftfoot")


@pytest.mark.parametrize("name", list(GOLDEN))
def test_the_description_says_every_decision(name):
    protocol = protocols.get_protocol(name)
    text = protocol.describe()
    assert "\n" not in text
    for word in (name, *protocol.root, *(s.label for s in protocol.point_sets), *protocol.point_sets[0].points):
        assert word in text
    assert not protocol.pck_thresholds or (
        "strictly" in text and all(f"{t:g}" in text for t in protocol.pck_thresholds)
    )
    assert "NOT the original" not in text


@pytest.mark.parametrize("name", list(GOLDEN))
def test_the_summary_says_what_must_be_agreed_without_the_lists_of_points(name):
    protocol = protocols.get_protocol(name)
    text = protocol.summary()
    assert text.startswith(f"Protocol {name}. {protocol.alignment}. Root: {' and '.join(protocol.root)}. Points: ")
    assert text.endswith(". Names of all points: evaluation.md")
    assert all(points.label in text for points in protocol.point_sets)
    assert len(text) < len(protocol.describe())
    assert ("PCK: below" in text) == bool(protocol.pck_thresholds)
    assert all(f"{threshold:g}" in text for threshold in protocol.pck_thresholds)
    assert "NOT the original" not in text
    assert "NOT the original, and not comparable" in dataclasses.replace(protocol, left_out=("jaw",)).summary()
    substituted = dataclasses.replace(protocol, substitutions=(("mid_hip", "pelvis"),))
    assert "NOT the original, and not comparable" in substituted.summary()
    assert "NOT the original protocol" in substituted.describe()


def test_the_description_says_what_relative_errors_are_after():
    protocol = protocols.get_protocol("hardmo")
    text = protocol.describe()
    assert "Relative errors, after alignment of body_17: " in text
    for part in protocol.rigid_parts:
        assert f"{part.label} from {part.base}: {' '.join(part.points)}" in text
    for arm in protocol.arms:
        assert f"{arm.label}: {' '.join(arm.points)}" in text
    bare = dataclasses.replace(protocol, rigid_parts=(), arms=()).describe()
    assert "Relative errors" not in bare
    assert "PA of arms" not in bare


CHANGES = [
    {"root": ("mid_hip",)},
    {"box": keypoints.BoxConvention(scale=1.0)},
    {"box": keypoints.BoxConvention(is_scaled=True)},
    {"min_confidence": 0.3},
    {"pck_thresholds": (0.02, 0.05)},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_decision_is_seen_in_the_description(change):
    protocol = protocols.get_protocol("hardmo")
    assert dataclasses.replace(protocol, **change).describe() != protocol.describe()


def test_protocols_are_values():
    protocol = protocols.get_protocol("hardmo")
    assert hash(protocol) == hash(dataclasses.replace(protocol))
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.root = ("pelvis",)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"root": ()}, ValueError, "has no root"),
        ({"root": ("pelvis_mpi",)}, KeyError, "pelvis_mpii"),
        ({"body_set": "bodies"}, KeyError, "body"),
        ({"pck_thresholds": ()}, ValueError, "no thresholds"),
        ({"point_sets": (protocols.PointSet(name="body", points=("nose", "nose")),)}, ValueError, "a point twice"),
        ({"point_sets": (protocols.PointSet(name="body", points=()),)}, ValueError, "is empty"),
        ({"point_sets": (protocols.PointSet(name="body", points=("nose",)),) * 2}, ValueError, "a point set twice"),
    ],
)
def test_a_protocol_that_does_not_fit_itself_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(protocols.get_protocol("hardmo"), **change)


# ---- bodies without a regressor -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(GOLDEN))
def test_a_substituted_protocol_needs_joints_and_landmarks_only(name):
    protocol = protocols.get_protocol(name).substituted()
    _, is_supported = mapping.point_regressor(protocol.layout, layouts.SMPL_JOINTS + layouts.LANDMARKS)
    assert is_supported.all()
    assert protocol.substituted() is protocol


@pytest.mark.parametrize("name", ["hardmo", "4dhumans", "3dpw14"])
def test_a_substituted_protocol_cannot_hide_it(name):
    original = protocols.get_protocol(name)
    protocol = original.substituted()
    assert protocol.name == f"{name} with plain joints"
    assert protocol.layout.name != original.layout.name
    assert protocol.root == ("pelvis",)
    text = protocol.describe()
    assert "NOT the original protocol" in text
    for point, plain in protocol.substitutions:
        assert f"{plain} for {point}" in text
        assert regressors.place_of(point) == plain
    assert all(point in text for point in protocol.left_out)


def test_what_has_no_plain_counterpart_is_left_out():
    protocol = protocols.get_protocol("4dhumans").substituted()
    assert set(protocol.left_out) == {"head_top_lsp", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m"}
    assert dict(protocol.substitutions)["pelvis_mpii"] == "pelvis"
    assert protocol.point_set("body").label == "body_13"
    assert protocol.point_set("body").points == regressors.LSP14[:-1]
    # 44, less the five, less the 13 that are the same places as points of BODY_25.
    assert protocol.point_set("all").label == "all_26"
    assert protocols.get_protocol("3dpw14").substituted().point_set("body").points == regressors.LSP14[:-1]
    assert {*protocols.get_protocol("3dpw14").substituted().left_out} == {"spine_h36m", "jaw_h36m", "head_h36m"}


def test_the_substituted_benchmark_has_the_same_sets_below_another_root():
    original = protocols.get_protocol("hardmo")
    protocol = original.substituted()
    assert protocol.point_sets == original.point_sets
    assert protocol.rigid_parts == original.rigid_parts
    matrix, _ = mapping.point_regressor(protocol.layout, layouts.SMPL_JOINTS + layouts.LANDMARKS)
    body_points = [(layouts.SMPL_JOINTS + layouts.LANDMARKS)[index] for index in np.argmax(matrix, 1)]
    for point, body_point in zip(protocol.layout.points, body_points, strict=True):
        assert body_point == {"mid_hip": "pelvis"}.get(point, point)


def test_joints_need_no_substitution():
    protocol = protocols.get_protocol("smpl24")
    assert protocol.substituted() is protocol
