"""SMPL written out from the arrays that checkpoints of 4DHumans carry, for gradients through it in float64.

The formulas of Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015, one after the other, from rotation
matrices; none of the package's own body code is in it. `xp` is `jax.numpy` or `torch`.
"""

import numpy as np


def mesh_and_keypoints(xp, arrays, global_orient, body_pose, betas):
    """All vertices and the 44 keypoints of HMR 2.0, metres.

    Args:
        xp: Library that the arrays are of.
        arrays: Of the checkpoint, by their names after `smpl.`.
        global_orient: (B, 3, 3).
        body_pose: (B, 23, 3, 3).
        betas: (B, 10).
    """
    rotations = xp.concatenate([global_orient[:, None], body_pose], 1)
    shaped = arrays["v_template"] + xp.einsum("bs,vcs->bvc", betas, arrays["shapedirs"])
    joints = xp.einsum("jv,bvc->bjc", arrays["J_regressor"], shaped)
    features = (rotations[:, 1:] - xp.eye(3)).reshape(len(betas), -1)
    posed = shaped + (features @ arrays["posedirs"]).reshape(shaped.shape)
    parents = np.asarray(arrays["parents"])
    turns, places = [rotations[:, 0]], [joints[:, 0]]
    for joint in range(1, len(parents)):
        parent = int(parents[joint])
        turns.append(turns[parent] @ rotations[:, joint])
        places.append(places[parent] + xp.einsum("bij,bj->bi", turns[parent], joints[:, joint] - joints[:, parent]))
    turns, places = xp.stack(turns, 1), xp.stack(places, 1)
    offsets = places - xp.einsum("bjkl,bjl->bjk", turns, joints)
    weights = arrays["lbs_weights"]
    vertices = xp.einsum("vj,bjkl,bvl->bvk", weights, turns, posed) + xp.einsum("vj,bjk->bvk", weights, offsets)
    picked = vertices[:, np.asarray(arrays["vertex_joint_selector.extra_joints_idxs"])]
    named = xp.concatenate([places, picked], 1)[:, np.asarray(arrays["joint_map"])]
    regressed = xp.einsum("kv,bvc->bkc", arrays["joint_regressor_extra"], vertices)
    return vertices, xp.concatenate([named, regressed], 1)
