"""ProHMR's density as a term of fits: its residuals against PyTorch, and people whose hidden half it finds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.fitting import pose_density, variables
from hardmo_jax.geometry import cameras, crop_cameras
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks import regressors, torch_import
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.flows.conditional_glow import GlowOptions
from hardmo_jax.networks.lifter_input import looking_at
from hardmo_jax.networks.prohmr import ProhmrOptions
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import flow_prior, regressor_start
from hardmo_jax.recovery.lift_and_fit import lift_and_fit
from hardmo_jax.skeleton import layouts
from tests.reference.imported_regressors import precision, regressor, relative

PEOPLE, CONTEXT = 6, 32
WIDTH, HEIGHT = 1280, 720
#: Spread of the six numbers of the made network's poses: some ten degrees.
SPREAD = 0.1


def made_network(layout="hmr2"):
    """A network whose poses lie about that of rest, as those of trained ones lie about usual poses."""
    options = ProhmrOptions(
        backbone=ResnetOptions(blocks=(1, 1), width=4),
        flow=GlowOptions(context=CONTEXT, layers=2, blocks=1, hidden=32),
        head_hidden=16,
        rot6d_layout=layout,
    )
    rng, arrays = np.random.default_rng(3), {}
    for name, leaf in regressors.named_weights(regressors.blank_weights("prohmr", options)).items():
        # Layers of three parts each; couplings keep even and odd numbers in turns.
        first = int(name.split(".")[2]) // 3 % 2 if "_features" in name else 0
        start = {"identity_features": first, "transform_features": 1 - first}.get(name.split(".")[-1])
        if start is not None:
            arrays[name] = np.arange(start, 144, 2)
        elif name.endswith("_entries"):
            arrays[name] = 0.02 * rng.normal(size=leaf.shape)
        elif name.endswith("kernel"):
            size = 0.6 if "final_layer" in name else 1
            arrays[name] = size * rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        else:
            arrays[name] = np.full(leaf.shape, float(name.endswith(("scale", "var"))))
    rest = np.tile([1.0, 0, 0, 0, 1, 0] if layout == "hmr2" else [1.0, 0, 0, 1, 0, 0], 24)
    arrays["flow.transforms.0.log_scale"] = np.full(144, -np.log(SPREAD))
    arrays["flow.transforms.0.shift"] = -rest / SPREAD
    return regressors.with_arrays("prohmr", options, arrays)


@jax.jit
def _bodies_of(network, features, noise):
    return network.module().from_noise(features, noise)


def bodies_of(network, features, noise=None):
    """Those that noise stands for, the most likely ones without."""
    return _bodies_of(network, features, np.zeros((len(features), 144), features.dtype) if noise is None else noise)


@dataclasses.dataclass(frozen=True)
class Case:
    """People whose poses are drawn from the network's density, before the camera of a picture."""

    network: regressors.Regressor
    features: np.ndarray
    body: hm.BodyModel
    params: hm.BodyParams
    seen: hm.Observations
    """Of half of their points."""
    hidden: np.ndarray
    box: CropBox
    start: regressor_start.RegressorStart

    def prior(self, **changes):
        given = {"regressor": self.network, "features": self.features, "body": self.body, "start": self.start}
        return flow_prior.flow_prior(**{**given, "weight": 1.0, **changes})

    def fit(self, prior=None, **changes):
        given = {"initial": self.start.guess.params, "pose_density": None if prior is None else prior.density}
        return hm.fit(self.body, changes.pop("seen", self.seen), **{**given, **changes})

    def errors(self, result):
        """(N, J) distances of joints, pelvis on pelvis, millimetres."""
        found, truth = (np.asarray(self.body.joints(params)) for params in (result.params, self.params))
        return 1000 * np.linalg.norm(found - found[:, :1] - truth + truth[:, :1], axis=-1)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    network = made_network()
    body = dataclasses.replace(hm.open_body(view="smpl"), name="neutral body")
    features = np.abs(rng.normal(size=(PEOPLE, CONTEXT))).astype(np.float32)
    drawn = bodies_of(network, features, rng.normal(size=(PEOPLE, 144)).astype(np.float32))
    transl = np.stack([rng.uniform(-1.2, 1.2, PEOPLE), 0.2 * rng.normal(size=PEOPLE), rng.uniform(3.5, 5, PEOPLE)], -1)
    pelvis = transl + np.asarray(body.joint_template)[0]
    axes = looking_at(jnp.asarray(pelvis[:, :2] / pelvis[:, 2:]))
    orient = np.swapaxes(axes, -1, -2) @ np.asarray(drawn.global_orient)
    matrices = np.concatenate([orient[:, None], drawn.body_pose], 1)
    pose = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(PEOPLE, 24, 3).astype(np.float32)
    betas = np.zeros((PEOPLE, 10), np.float32)
    params = hm.BodyParams.from_full_pose(body, pose, betas=betas, transl=transl.astype(np.float32))
    camera = cameras.camera_from_image_size(WIDTH, HEIGHT)
    pixels = np.asarray(cameras.project_points(camera, body.joints(params)))
    low, high = pixels.min(1), pixels.max(1)
    box = CropBox(center=((low + high) / 2).astype(np.float32), size=(1.2 * (high - low).max(-1)).astype(np.float32))
    hidden = np.array([joint.startswith("left") or joint in ("spine1", "spine2") for joint in body.joint_names])
    seen = hm.Observations(
        keypoints_2d=pixels + 2 * rng.normal(size=pixels.shape),
        confidence=np.tile(np.where(hidden, 0, 1.0), (PEOPLE, 1)),
        camera=camera,
        layout="smpl24",
    )
    answer = dataclasses.replace(
        bodies_of(network, features),
        weak_camera=crop_cameras.weak_camera_from_full_transl(transl.astype(np.float32), box, camera),
        betas=jnp.zeros((PEOPLE, 10)),
    )
    start = regressor_start.start_from_regressor(body, answer, box, camera)
    return Case(network, features, body, params, seen, hidden, box, start)


@pytest.fixture(scope="module")
def fitted(case):
    """With the density, and without."""
    return case.fit(case.prior()), case.fit()


def test_hidden_half_is_nearer_to_the_truth_than_without(case, fitted, figure):
    told, untold = (case.errors(result)[:, case.hidden].mean(-1) for result in fitted)
    figure(f"hidden half of the joints: {told.mean():.0f} mm with the density, {untold.mean():.0f} mm without")
    assert told.mean() < 0.6 * untold.mean()
    assert np.median(told / untold) < 0.6


@pytest.mark.slow
def test_fits_from_a_regressor_take_it_in_place_of_the_pull_to_the_start(case, figure):
    def hidden_error(prior):
        found = lift_and_fit(case.body, case.seen, regressed=case.start, prior=prior)
        assert not np.asarray(found.is_from_lifter).any()
        return case.errors(found.result)[:, case.hidden].mean()

    told, untold = hidden_error(case.prior()), hidden_error(None)
    figure(f"hidden half, from the network's start: {told:.0f} mm with the density, {untold:.0f} mm without")
    assert told < untold


def test_who_else_is_fitted_does_not_matter(case, fitted):
    def turned(tree):
        return jax.tree.map(lambda leaf: np.asarray(leaf)[::-1].copy(), tree)

    start = regressor_start.rows_of_start(case.start, np.arange(PEOPLE)[::-1])
    prior = case.prior(features=case.features[::-1].copy(), start=start)
    seen = dataclasses.replace(
        case.seen, keypoints_2d=turned(case.seen.keypoints_2d), confidence=turned(case.seen.confidence)
    )
    again = case.fit(prior, seen=seen, initial=start.guess.params)
    np.testing.assert_allclose(turned(again.params).full_pose(), fitted[0].params.full_pose(), atol=1e-4)


def test_of_whom_the_network_said_nothing_the_usual_prior_stays(case, fitted):
    features = case.features.copy()
    features[2, 5] = np.nan
    answer = dataclasses.replace(
        bodies_of(case.network, features), weak_camera=jnp.tile(jnp.array([0.9, 0, 0]), (PEOPLE, 1))
    )
    start = regressor_start.start_from_regressor(case.body, answer, case.box, case.seen.camera)
    assert not start.is_usable[2]
    for given in (start, dataclasses.replace(start, is_usable=np.ones(PEOPLE, bool))):
        prior = case.prior(features=features, start=given)
        np.testing.assert_array_equal(prior.is_usable, np.arange(PEOPLE) != 2)
        np.testing.assert_array_equal(prior.density.weight, prior.is_usable)
    prior = case.prior(features=features, start=dataclasses.replace(case.start, is_usable=start.is_usable))
    result = case.fit(prior)
    np.testing.assert_allclose(case.errors(result)[2], case.errors(fitted[1])[2], atol=1)
    others = prior.is_usable
    np.testing.assert_array_equal(result.params.body_pose[others], fitted[0].params.body_pose[others])


def residual_of(prior, matrices, person=0):
    data = jax.tree.map(lambda leaf: leaf[person], prior.density.data)
    return jax.jit(prior.density.function)(matrices, data, prior.density.shared)


@jax.jit
def noise_of(network, numbers, features):
    return network.module().flow.forward(numbers, features)[0]


@pytest.mark.parametrize("layout", ["hmr2", "spin"])
def test_truth_is_its_noise_before_the_camera_of_the_crop(case, layout):
    network = made_network(layout)
    matrices = Rotation.from_rotvec(np.asarray(case.params.full_pose())[1]).as_matrix().astype(np.float32)
    # The copy stays as it is: a call may still read its arguments after it has returned.
    found = residual_of(case.prior(regressor=network), matrices.copy(), 1)
    matrices[0] = case.start.guess.axes[1] @ matrices[0]
    columns = matrices[..., :2].swapaxes(-1, -2) if layout == "hmr2" else matrices[..., :2]
    expected = noise_of(network, columns.reshape(144), case.features[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_joints_that_a_body_lacks_are_as_the_network_has_them(case):
    wide, own = case.prior(body=hm.open_body()), case.prior()
    assert wide.density.joints == layouts.SMPL_JOINTS[:22]
    assert own.density.joints == layouts.SMPL_JOINTS
    matrices = Rotation.random(24, rng=np.random.default_rng(1)).as_matrix().astype(np.float32)
    matrices[22:] = np.asarray(bodies_of(case.network, case.features).body_pose)[0, 21:]
    np.testing.assert_allclose(residual_of(wide, matrices[:22]), residual_of(own, matrices), rtol=1e-5, atol=1e-4)


def test_guess_leaves_to_the_density_what_it_speaks_of(case):
    body = hm.open_body()
    prior = case.prior(body=body)
    prior = dataclasses.replace(prior, is_usable=np.arange(PEOPLE) != 1)
    layout = variables.Layout.of(body)
    spread = np.full((PEOPLE, layout.size), 0.3)
    params = hm.BodyParams.rest(body, batch=(PEOPLE,))
    guess = hm.Guess(params=params, spread=spread, precision=np.eye(layout.size))
    found = flow_prior.guess_beside(prior, guess, body).spread
    told = layout.group_mask(("global_orient", "body_pose"))
    np.testing.assert_array_equal(np.isinf(found), (np.arange(PEOPLE) != 1)[:, None] & told)


def test_published_weight_is_that_of_thousandths_of_the_picture(case):
    boxes = np.tile([0.0, 0, 300, 800], (PEOPLE, 1)) * np.linspace(0.25, 1, PEOPLE)[:, None]
    seen = dataclasses.replace(case.seen, bbox=boxes)
    # A box of 800 pixels in a picture of 1000: a keypoint has a spread of 4 pixels.
    expected = 1 / np.linspace(0.25, 1, PEOPLE)
    np.testing.assert_allclose(flow_prior.published_weight(case.body, seen, 1000.0), expected)
    sides = np.full(PEOPLE, 2000.0)
    np.testing.assert_allclose(flow_prior.published_weight(case.body, seen, sides), 2 * expected)
    loose = hm.FitOptions(keypoints_2d_spread=0.01)
    np.testing.assert_allclose(
        flow_prior.published_weight(case.body, seen, 1000.0, pose_weight=8.0, options=loose), expected
    )


def test_what_does_not_fit_together_is_refused(case):
    with pytest.raises(ValueError, match="with a flow"):
        case.prior(regressor=dataclasses.replace(case.network, name="hmr"))
    with pytest.raises(ValueError, match="6 starts"):
        case.prior(features=case.features[:2])
    with pytest.raises(ValueError, match=r"\(6, 32\)"):
        case.prior(features=case.features[:, :5])
    with pytest.raises(ObservationError, match="regressed"):
        lift_and_fit(case.body, case.seen, prior=case.prior())
    for wrong in ({"longer_side": 0.0}, {"longer_side": np.nan}, {"longer_side": 9.0, "pose_weight": 0.0}):
        with pytest.raises(ValueError, match="must be positive"):
            flow_prior.published_weight(case.body, case.seen, **wrong)
    spatial = hm.Observations(keypoints_3d=np.zeros((1, 24, 3)), layout="smpl24")
    with pytest.raises(ObservationError, match="no 2D keypoints"):
        flow_prior.published_weight(case.body, spatial, 1000.0)


@pytest.fixture(scope="module")
def beside_pytorch(case, tmp_path_factory):
    """Residuals of people in float64 and what differentiating them gives, here and in PyTorch."""
    torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")
    from tests.recovery import test_flow_fitting

    network = test_flow_fitting.stand_in()
    path = tmp_path_factory.mktemp("prohmr") / "checkpoint.pt"
    torch.save({"state_dict": network.state_dict()}, path)
    imported = torch_import.import_checkpoint(path, "prohmr")
    rng = np.random.default_rng(8)
    turns = rng.normal(size=(3, 24, 3))
    # At rest before the camera, turned by pi, and anyhow.
    turns[0] = 0
    turns[1] *= np.pi / np.linalg.norm(turns[1], axis=-1, keepdims=True)
    orient = np.stack([np.diag([1.0, -1, -1]), *Rotation.random(2, rng=rng).as_matrix()])
    features = np.abs(rng.normal(size=(3, CONTEXT)))
    with precision(np.float64):
        ours = regressor(imported, np.float64)
        body = hm.open_body(view="smpl", dtype=np.float64)
        axes = Rotation.random(3, rng=rng).as_matrix()
        start = regressor_start.rows_of_start(case.start, np.arange(3))
        start = dataclasses.replace(start, guess=dataclasses.replace(start.guess, axes=axes))
        prior = flow_prior.flow_prior(ours, features, body, start, weight=1.3)
        shared, rows, _ = pose_density.density_of_people(prior.density, body, (3,), np.dtype(np.float64))
        moved = jnp.asarray(turns.reshape(3, 72))
        arguments = (shared, rows, jnp.asarray(rows.weight), jnp.asarray(orient), moved)
        made = jax.tree.map(np.asarray, jax.jit(_equations)(*arguments))

    flow = network.double().flow.flow

    def in_pytorch(person):
        def noise(turn):
            x, y, z = turn.reshape(24, 3).T
            zero = torch.zeros_like(x)
            skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(24, 3, 3)
            matrices = torch.matrix_exp(skew)
            root = torch.from_numpy(axes[person]) @ matrices[0] @ torch.from_numpy(orient[person])
            matrices = torch.cat([root[None], matrices[1:]])
            numbers = torch.cat([matrices[..., 0], matrices[..., 1]], -1).reshape(1, 144)
            return 1.3 * flow.forward(numbers, torch.from_numpy(features[person : person + 1]))[0][0]

        turn = torch.from_numpy(turns[person].reshape(72))
        return noise(turn).detach().numpy(), torch.autograd.functional.jacobian(noise, turn, vectorize=True).numpy()

    theirs = [in_pytorch(person) for person in range(3)]
    return made, np.stack([one[0] for one in theirs]), np.stack([one[1] for one in theirs])


def _equations(*arguments):
    made = pose_density.density_equations(*arguments)
    residual = pose_density.density_residuals(*arguments)
    return {"residual": residual, "matrix": made.matrix, "gradient": made.gradient, "cost": made.cost}


def test_residuals_and_equations_equal_pytorch_in_float64_at_rest_and_at_pi(beside_pytorch, figure):
    made, theirs, jacobian = beside_pytorch
    errors = {
        "residual": relative(made["residual"], theirs),
        "cost": relative(made["cost"], 0.5 * np.square(theirs).sum(-1)),
        "gradient": relative(made["gradient"], np.einsum("bre,br->be", jacobian, theirs)),
        "matrix": relative(made["matrix"], np.einsum("bre,brf->bef", jacobian, jacobian)),
    }
    figure(f"flow as a term of fits against PyTorch, residuals and equations: {max(errors.values()):.1e}")
    assert max(errors.values()) <= 1e-9, errors
