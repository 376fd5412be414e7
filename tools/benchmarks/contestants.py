"""Implementations of SMPL behind one interface: this package and its peers, by the best documented route of each.

A contestant takes NumPy inputs once and gives calls that block until their result is there. Peers need the `bench`
extra; this package needs jax and numpy only. Keypoints are the 24 joints and 21 vertices (face, feet, finger tips);
their loss is the reprojection error under Geman-McClure with 100 pixels, focal length 1000, averaged over the batch.
"""

import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

NUM_VERTICES = 6890
FOCAL_LENGTH, ROBUST_PIXELS = 1000.0, 100.0
#: Of the squares of body pose and shape in whole fits.
POSE_WEIGHT, SHAPE_WEIGHT = 10.0, 5.0
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
Call = Callable[[], Any]


def draw_inputs(batch: int, *, seed: int = 0, spread: float = 0.3) -> Inputs:
    """Random pose (B, 24, 3), betas (B, 10) and translation (B, 3) in front of the camera, float32."""
    rng = np.random.default_rng(seed)
    pose = spread * rng.standard_normal((batch, 24, 3))
    place = [0.3 * rng.standard_normal(batch), 0.3 * rng.standard_normal(batch), 4 + rng.random(batch)]
    betas, transl = rng.standard_normal((batch, 10)), np.stack(place, 1)
    return pose.astype(np.float32), betas.astype(np.float32), transl.astype(np.float32)


class Contestant(Protocol):
    """One implementation. A measure that it does not have raises NotImplementedError."""

    name: str

    def mesh(self, inputs: Inputs) -> Call:
        """Call for all vertices, (B, 6890, 3)."""
        ...

    def joints(self, inputs: Inputs) -> Call:
        """Call for the 24 joints alone."""
        ...

    def adam(self, transl: np.ndarray, keypoints_2d: np.ndarray, *, steps: int, learning_rate: float) -> Call:
        """Call for a fit from zero pose and shape, which gives everybody's loss (`fit_problems`)."""
        ...

    def keypoint_gradient(self, inputs: Inputs, keypoints_2d: np.ndarray) -> Call:
        """Call for the loss of 45 keypoints and its gradient by pose, betas and translation."""
        ...


class _InJax:
    """What the contestants written in JAX share."""

    model: Any
    keypoint_model: Any

    def _vertices(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        raise NotImplementedError

    def _joints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        raise NotImplementedError

    def _keypoints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        raise NotImplementedError

    def _call(self, function: Callable[..., Any], model: Any, inputs: tuple[np.ndarray, ...]) -> Call:
        import jax

        placed, compiled = [jax.device_put(array) for array in inputs], jax.jit(function)
        return lambda: jax.block_until_ready(compiled(model, *placed))

    def mesh(self, inputs: Inputs) -> Call:
        """Call for all vertices."""
        return self._call(self._vertices, self.model, inputs)

    def joints(self, inputs: Inputs) -> Call:
        """Call for the joints alone."""
        return self._call(self._joints, self.model, inputs)

    def loss(self, model: Any, pose: Any, betas: Any, transl: Any, keypoints_2d: Any) -> Any:
        """Mean over the batch of the robust reprojection error."""
        points = self._keypoints(model, pose, betas, transl)
        square = (points[..., :2] / points[..., 2:] * FOCAL_LENGTH - keypoints_2d) ** 2
        return (ROBUST_PIXELS**2 * square / (ROBUST_PIXELS**2 + square)).sum((1, 2)).mean()

    def adam(self, transl: np.ndarray, keypoints_2d: np.ndarray, *, steps: int, learning_rate: float) -> Call:
        """Call for a fit from zero pose and shape, which gives everybody's loss."""
        import jax
        import jax.numpy as jnp
        import optax

        optimiser = optax.adam(learning_rate)

        def losses(model: Any, state: Any) -> Any:
            pose, betas, place = state
            points = self._keypoints(model, pose, betas, place)
            square = ((points[..., :2] / points[..., 2:] * FOCAL_LENGTH - keypoints_2d) ** 2).sum(-1)
            robust = (ROBUST_PIXELS**2 * square / (ROBUST_PIXELS**2 + square)).sum(-1)
            return robust + POSE_WEIGHT * (pose[:, 1:] ** 2).sum((1, 2)) + SHAPE_WEIGHT * (betas**2).sum(-1)

        @jax.jit
        def fit(model: Any, state: Any) -> Any:
            def step(carry: Any, _: None) -> Any:
                state, memory = carry
                gradient = jax.grad(lambda s: losses(model, s).sum())(state)
                update, memory = optimiser.update(gradient, memory)
                return (optax.apply_updates(state, update), memory), None

            (state, _), _ = jax.lax.scan(step, (state, optimiser.init(state)), None, length=steps)
            return losses(model, state)

        count = len(transl)
        start = (jnp.zeros((count, 24, 3)), jnp.zeros((count, 10)), jnp.asarray(transl))
        return lambda: jax.block_until_ready(fit(self.keypoint_model, start))

    def keypoint_gradient(self, inputs: Inputs, keypoints_2d: np.ndarray) -> Call:
        """Call for the loss and its gradient."""
        import jax

        value_and_gradient = jax.value_and_grad(self.loss, argnums=(1, 2, 3))
        return self._call(value_and_gradient, self.keypoint_model, (*inputs, keypoints_2d))


class HardmoJax(_InJax):
    """This package."""

    name = "hardmo_jax"

    def __init__(self, folder: pathlib.Path) -> None:
        import hardmo_jax as hm

        self.model = hm.load_body(folder / "SMPL_NEUTRAL.npz")
        self.keypoint_model = self.model.subset([vertex for _, vertex in self.model.landmarks])

    def _params(self, pose: Any, betas: Any, transl: Any) -> Any:
        import hardmo_jax as hm

        return hm.BodyParams(betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:], transl=transl)

    def _vertices(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return model(self._params(pose, betas, transl)).vertices

    def _joints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return model.joints(self._params(pose, betas, transl))

    def _keypoints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        import jax.numpy as jnp

        output = model(self._params(pose, betas, transl))
        return jnp.concatenate([output.joints, output.vertices], 1)


class BodyModelsJax(_InJax):
    """body-models in JAX; keypoints by `forward_skeleton` and a prepared point regressor."""

    name = "body-models-jax"

    def __init__(self, folder: pathlib.Path) -> None:
        import jax.numpy as jnp
        from body_models.smpl.jax import SMPL  # pyright: ignore[reportMissingImports]

        self.model = SMPL(model_path=folder / "SMPL_NEUTRAL.pkl")
        regressor = self.model.prepare_point_regressor(jnp.asarray(_one_hot_landmarks()))
        self.keypoint_model = (self.model, regressor)

    @staticmethod
    def _named(pose: Any, betas: Any, transl: Any) -> dict[str, Any]:
        return {"body_pose": pose[:, 1:], "pelvis_rotation": pose[:, 0], "shape": betas, "global_translation": transl}

    def _vertices(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return model.forward_vertices(**self._named(pose, betas, transl))

    def _joints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return model.forward_skeleton(**self._named(pose, betas, transl))[..., :3, 3]

    def _keypoints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        import jax.numpy as jnp

        body, regressor = model
        named = self._named(pose, betas, transl)
        joints = body.forward_skeleton(**named)[..., :3, 3]
        return jnp.concatenate([joints, body.forward_points(point_regressor=regressor, **named)], 1)


class SmplfitterJax(_InJax):
    """smplfitter in JAX. Its body model holds its arrays itself, so they are constants of the program."""

    name = "smplfitter-jax"

    def __init__(self, folder: pathlib.Path) -> None:
        from smplfitter.jax import BodyModel  # pyright: ignore[reportMissingImports]

        self._body = BodyModel("smpl", "neutral", model_root=str(folder / "smplfitter" / "smpl"), num_betas=10)
        self.model = self.keypoint_model = None

    def _posed(self, pose: Any, betas: Any, transl: Any, *, vertices: bool = True) -> Any:
        rotations = pose.reshape(-1, 72)
        return self._body(pose_rotvecs=rotations, shape_betas=betas, trans=transl, return_vertices=vertices)

    def _vertices(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return self._posed(pose, betas, transl)["vertices"]

    def _joints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        return self._posed(pose, betas, transl, vertices=False)["joints"]

    def _keypoints(self, model: Any, pose: Any, betas: Any, transl: Any) -> Any:
        import jax.numpy as jnp

        posed = self._posed(pose, betas, transl)
        return jnp.concatenate([posed["joints"], posed["vertices"][:, np.array(_landmark_ids())]], 1)


class _InTorch:
    """What the contestants written in PyTorch share."""

    def _keypoints(self, pose: Any, betas: Any, transl: Any) -> Any:
        raise NotImplementedError

    def adam(self, transl: np.ndarray, keypoints_2d: np.ndarray, *, steps: int, learning_rate: float) -> Call:
        """Call for a fit from zero pose and shape, which gives everybody's loss."""
        import torch

        target, count = torch.from_numpy(keypoints_2d), len(transl)

        def losses(pose: Any, betas: Any, place: Any) -> Any:
            points = self._keypoints(pose, betas, place)
            square = ((points[..., :2] / points[..., 2:] * FOCAL_LENGTH - target) ** 2).sum(-1)
            robust = (ROBUST_PIXELS**2 * square / (ROBUST_PIXELS**2 + square)).sum(-1)
            return robust + POSE_WEIGHT * (pose[:, 1:] ** 2).sum((1, 2)) + SHAPE_WEIGHT * (betas**2).sum(-1)

        def call() -> Any:
            # At exactly zero some bodies have no gradient.
            arrays = (np.zeros((count, 24, 3)) + 1e-6, np.zeros((count, 10)), transl)
            leaves = [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]
            optimiser = torch.optim.Adam(leaves, lr=learning_rate)
            for _ in range(steps):
                optimiser.zero_grad()
                losses(*leaves).sum().backward()
                optimiser.step()
            with torch.no_grad():
                return losses(*leaves).numpy()

        return call

    def keypoint_gradient(self, inputs: Inputs, keypoints_2d: np.ndarray) -> Call:
        """Call for the loss and its gradient."""
        import torch

        leaves = [torch.from_numpy(array).clone().requires_grad_(True) for array in inputs]
        target = torch.from_numpy(keypoints_2d)

        def call() -> tuple[Any, ...]:
            for leaf in leaves:
                leaf.grad = None
            points = self._keypoints(*leaves)
            square = (points[..., :2] / points[..., 2:] * FOCAL_LENGTH - target) ** 2
            loss = (ROBUST_PIXELS**2 * square / (ROBUST_PIXELS**2 + square)).sum((1, 2)).mean()
            loss.backward()
            return loss.item(), tuple(leaf.grad for leaf in leaves)

        return call


class SmplxTorch(_InTorch):
    """smplx; it has the full mesh only."""

    name = "smplx-torch"

    def __init__(self, folder: pathlib.Path) -> None:
        import contextlib
        import io

        import smplx  # pyright: ignore[reportMissingImports]

        with contextlib.redirect_stdout(io.StringIO()):
            self._layer = smplx.SMPLLayer(str(folder / "SMPL_NEUTRAL.pkl"), num_betas=10)

    def _posed(self, pose: Any, betas: Any, transl: Any) -> Any:
        from smplx.lbs import batch_rodrigues  # pyright: ignore[reportMissingImports]

        matrices = batch_rodrigues(pose.reshape(-1, 3)).reshape(-1, 24, 3, 3)
        return self._layer(betas=betas, body_pose=matrices[:, 1:], global_orient=matrices[:, :1], transl=transl)

    def _keypoints(self, pose: Any, betas: Any, transl: Any) -> Any:
        return self._posed(pose, betas, transl).joints

    def mesh(self, inputs: Inputs) -> Call:
        """Call for all vertices."""
        return self._inference(inputs, lambda output: output.vertices)

    def joints(self, inputs: Inputs) -> Call:
        """Call for the joints alone."""
        return self._inference(inputs, lambda output: output.joints[:, :24])

    def _inference(self, inputs: Inputs, part: Callable[[Any], Any]) -> Call:
        import torch

        tensors = [torch.from_numpy(array) for array in inputs]

        def call() -> Any:
            with torch.inference_mode():
                return part(self._posed(*tensors))

        return call


class BodyModelsTorch(_InTorch):
    """body-models in PyTorch; keypoints by `forward_skeleton` and a prepared point regressor."""

    name = "body-models-torch"

    def __init__(self, folder: pathlib.Path) -> None:
        import torch
        from body_models.smpl.torch import SMPL  # pyright: ignore[reportMissingImports]

        self._body = SMPL(model_path=folder / "SMPL_NEUTRAL.pkl")
        self._regressor = self._body.prepare_point_regressor(torch.from_numpy(_one_hot_landmarks()))

    def _keypoints(self, pose: Any, betas: Any, transl: Any) -> Any:
        import torch

        named = BodyModelsJax._named(pose, betas, transl)
        joints = self._body.forward_skeleton(**named)[..., :3, 3]
        return torch.cat([joints, self._body.forward_points(point_regressor=self._regressor, **named)], 1)

    def mesh(self, inputs: Inputs) -> Call:
        """Call for all vertices."""
        return self._inference(inputs, lambda named: self._body.forward_vertices(**named))

    def joints(self, inputs: Inputs) -> Call:
        """Call for the joints alone."""
        return self._inference(inputs, lambda named: self._body.forward_skeleton(**named)[..., :3, 3])

    def _inference(self, inputs: Inputs, function: Callable[[dict[str, Any]], Any]) -> Call:
        import torch

        named = BodyModelsJax._named(*(torch.from_numpy(array) for array in inputs))

        def call() -> Any:
            with torch.inference_mode():
                return function(named)

        return call


CONTESTANTS: dict[str, Callable[[pathlib.Path], Contestant]] = {
    kind.name: kind for kind in (HardmoJax, SmplxTorch, BodyModelsJax, BodyModelsTorch, SmplfitterJax)
}
OURS = HardmoJax.name


def _landmark_ids() -> list[int]:
    from hardmo_jax.body.families import FAMILIES

    return [vertex for _, vertex in FAMILIES["smpl"].landmark_vertex_ids]


def _one_hot_landmarks() -> np.ndarray:
    ids = _landmark_ids()
    matrix = np.zeros((len(ids), NUM_VERTICES), np.float32)
    matrix[np.arange(len(ids)), ids] = 1
    return matrix


def write_models(folder: pathlib.Path) -> None:
    """Write a synthetic SMPL file of full size in every layout that a contestant reads."""
    import pickle

    from tests.reference import smpl_files

    model = smpl_files.make_model("smpl", num_vertices=NUM_VERTICES, num_betas=10)
    smpl_files.write_npz(folder / "SMPL_NEUTRAL.npz", model)
    peer = folder / "smplfitter" / "smpl"
    peer.mkdir(parents=True)
    for file in (folder / "SMPL_NEUTRAL.pkl", peer / "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl"):
        file.write_bytes(pickle.dumps(model, protocol=2))
    np.save(peer / "kid_template.npy", model["v_template"])
