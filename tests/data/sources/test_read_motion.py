"""The entrance picks the reader by suffix."""

import pytest

from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.skeleton import captures


@pytest.mark.parametrize(
    ("file", "convention"),
    [
        ("cmu_bvh_30fps/martial/04.bvh", "daz"),
        ("cmu_bvh_30fps/s12/cmu_12_01_walk.bvh", "cmu"),
        ("cmu_amc/02/02_01.amc", "acclaim"),
        ("cmu_amc/fairmotion/01_01.bvh", "cmu"),
        ("deepmimic/humanoid3d_walk.txt", "deepmimic"),
    ],
)
def test_real_files_are_read_and_their_convention_found(reference_data, file, convention):
    path = reference_data / "mocap" / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    clip = read_motion(path)
    found = captures.find_convention(clip.joint_names)
    assert found.name == convention
    assert found.tips.keys() == captures.CONVENTIONS[convention].tips.keys()
    rest = dict(zip(clip.joint_names, clip.rest_positions(), strict=True))
    for joint in ("hip", "knee", "shoulder", "elbow"):
        assert rest[found.joints[f"left_{joint}"]][0] > 0 > rest[found.joints[f"right_{joint}"]][0]


def test_what_has_no_reader_is_refused(tmp_path):
    with pytest.raises(MotionFileError, match="read_amass"):
        read_motion(tmp_path / "a.npz")
    with pytest.raises(MotionFileError, match=r"expected 01\.asf or 01_02\.asf"):
        read_motion(tmp_path / "01_02.amc")
    with pytest.raises(ValueError, match="`unit`"):
        read_motion(tmp_path / "a.txt", unit=1.0)
