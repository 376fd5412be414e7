"""Forward kinematics: joint rotations and rest joints to transforms of every joint."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Float
from hardmo_jax.geometry import rotations


@functools.lru_cache(maxsize=32)
def depth_levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Joints grouped by their distance from the root. A parent stands before its children.

    Raises:
        ValueError: If joint 0 is not the one root, or a parent comes after its child.
    """
    if not parents or parents[0] != -1:
        raise ValueError(f"joint 0 must be the root (parent -1), got parents {parents}")
    depth = [0]
    for joint, parent in enumerate(parents[1:], start=1):
        if not 0 <= parent < joint:
            raise ValueError(f"joint {joint} has parent {parent}; parents must come before their children")
        depth.append(depth[parent] + 1)
    return tuple(tuple(joint for joint, at in enumerate(depth) if at == level) for level in range(max(depth) + 1))


@functools.lru_cache(maxsize=32)
def ancestor_mask(parents: tuple[int, ...]) -> np.ndarray:
    """(J, J) booleans: `mask[j, a]` tells whether turning joint `a` moves the frame of joint `j`."""
    depth_levels(parents)
    mask = np.eye(len(parents), dtype=bool)
    for joint, parent in enumerate(parents[1:], start=1):
        mask[joint] |= mask[parent]
    mask.setflags(write=False)
    return mask


def joint_transforms(
    parents: tuple[int, ...],
    local: Float[Array, "*batch J 3 3"],
    rest_joints: Float[Array, "*batch J 3"],
) -> tuple[Float[Array, "*batch J 3 3"], Float[Array, "*batch J 3"]]:
    """Global rotation and position of every joint.

    Works level by level of the tree: all joints of one depth in one product, which compiles faster and has a
    cheaper reverse pass than one product a joint.

    Args:
        parents: Parent of each joint, -1 for the root.
        local: Rotation of each joint relative to its parent.
        rest_joints: Joint positions in the rest pose, metres.

    Returns:
        Global rotations, and joint positions in metres. The root turns about its own rest position.
    """
    levels = depth_levels(parents)
    level_rotations = [local[..., :1, :, :]]
    level_positions = [rest_joints[..., :1, :]]
    for above, level in itertools.pairwise(levels):
        ids = np.array(level)
        parent_ids = np.array([parents[joint] for joint in level])
        slots = np.array([above.index(parent) for parent in parent_ids])
        parent_rotation = level_rotations[-1][..., slots, :, :]
        offset = rest_joints[..., ids, :] - rest_joints[..., parent_ids, :]
        level_rotations.append(rotations.compose(parent_rotation, local[..., ids, :, :]))
        turned = rotations.rotate(parent_rotation, offset)
        level_positions.append(level_positions[-1][..., slots, :] + turned)
    order = np.argsort(np.concatenate([np.array(level) for level in levels]))
    return (
        jnp.concatenate(level_rotations, -3)[..., order, :, :],
        jnp.concatenate(level_positions, -2)[..., order, :],
    )
