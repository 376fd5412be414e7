"""What a regressor says of people while their pictures are at hand, for fits that start there."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import AnyArray
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks import crop_context
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.crop_context import CropContext
from hardmo_jax.networks.pose_samples import bodies_of_features
from hardmo_jax.networks.regressor_file import RegressorFileError, RegressorRecord, load_converted, read_record
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.networks.regressors import ARCHITECTURES, Regressor, regress, seen_features
from hardmo_jax.observations import Observations
from hardmo_jax.perception import crop_rules
from hardmo_jax.perception.regressor_crops import RegressorCrops, cut_people
from hardmo_jax.pipelines.annotate_cameras import CameraOptions, with_noted_camera
from hardmo_jax.pipelines.sightings import RegressedPerson, Sighting, to_observations
from hardmo_jax.recovery.finetune import FinetuneOptions, finetune
from hardmo_jax.recovery.flow_prior import FlowPrior, flow_prior, published_weight
from hardmo_jax.recovery.hypotheses import choose_by_keypoints
from hardmo_jax.recovery.regressor_start import RegressorStart, start_from_regressor

#: Networks that were trained with the true focal length of every picture; CLIFF's was always the diagonal.
_KNOWN_CAMERA = ("bedlam_cliff",)
#: Networks that give a density of poses.
_DENSITIES = ("prohmr",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitialiseOptions:
    """A regressor from whose answers fits start."""

    network: Literal["none", "hmr", "hmr2", "cliff", "bedlam_cliff", "hardmo_hmr", "prohmr"] = "none"
    """`none`: fits start from the lifter's guess of the keypoints."""
    checkpoint: str | None = None
    """Folder that `tools.convert_checkpoint` made."""
    batch_size: int = 16
    """People whose crops go through the network at once."""
    numbers: Literal["float32", "bfloat16"] = "float32"
    """What the backbone computes in; `bfloat16` is for accelerators that are faster in it."""
    finetune_steps: int = 0
    """Steps that the last layers are trained on for each person, so that the answer explains the keypoints (EFT,
    see `recovery.finetune`); 0 takes the network as it is."""
    num_samples: int = 1
    """Bodies that a network with a density (`prohmr`) draws for each person, of which the one that explains the
    keypoints best is taken; 1 takes the most likely one."""
    flow_prior: bool = False
    """Whether the density of poses of such a network is a prior of the fits too (see `recovery.flow_prior`); of photos,
    and of frames of a video that are fitted by themselves."""

    def __post_init__(self) -> None:
        if self.network != "none" and self.network not in ARCHITECTURES:
            raise ValueError(f"unknown `network` {self.network!r}; known: none, {', '.join(ARCHITECTURES)}")
        if self.numbers not in ("float32", "bfloat16"):
            raise ValueError(f"`numbers` must be float32 or bfloat16, got {self.numbers!r}")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {self.batch_size}")
        if self.finetune_steps < 0:
            raise ValueError(f"`finetune_steps` must not be negative, got {self.finetune_steps}")
        if self.num_samples < 1:
            raise ValueError(f"`num_samples` must be at least 1, got {self.num_samples}")
        if self.finetune_steps and self.network in ("none", *_DENSITIES):
            raise ValueError(
                "`finetune_steps` needs a network that puts out rotations: hmr, hmr2, cliff, bedlam_cliff or "
                f"hardmo_hmr; got {self.network}"
            )
        if self.num_samples > 1 and self.network not in _DENSITIES:
            raise ValueError(f"`num_samples` needs a network with a density, prohmr; got {self.network}")
        if self.flow_prior and self.network not in _DENSITIES:
            raise ValueError(f"`flow_prior` needs a network with a density, prohmr; got {self.network}")
        if (self.network == "none") != (self.checkpoint is None):
            raise ValueError(
                "`network` and `checkpoint` go together: the folder that `python -m tools.convert_checkpoint` made of "
                f"the network's weights; got network {self.network!r} and checkpoint {self.checkpoint!r}"
            )


#: Networks were trained on boxes of keypoints grown by so much, or are run on those of detectors, which hold the crown
#: of the head. Boxes here are about trusted keypoints, which lack it.
_LEAST_GROWTH = 1.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Waiting:
    """One person who was cut out; batch axes of one."""

    image: np.ndarray
    context: CropContext
    observations: Observations


class PeopleRegressor:
    """Cuts people out, gathers them over pictures, and asks the network about as many as it takes at once."""

    def __init__(
        self, options: InitialiseOptions, body: BodyModel, *, camera: CameraOptions | None = None, seed: int = 0
    ) -> None:
        """Load the network.

        Args:
            options: Which, and what is done with its answers.
            body: Whose points are compared with keypoints where answers are.
            camera: Where the focal lengths of pictures come from, as far as a picture alone tells.
            seed: Of the samples.

        Raises:
            FileNotFoundError: If there is no such folder.
            RegressorFileError: If it holds no regressor, or another one.
        """
        if options.checkpoint is None:
            raise RegressorFileError("no `checkpoint` is given, so there is no network to load")
        numbers = "bfloat16" if options.numbers == "bfloat16" else "as weights"
        self._regressor, self.record = load_converted(
            options.checkpoint, options.network, policy=ComputePolicy(numbers=numbers)
        )
        rule = crop_rules.crop_rule(options.network)
        self._rule = dataclasses.replace(rule, growth=max(rule.growth, _LEAST_GROWTH))
        self._batch_size = options.batch_size
        self._options, self._body, self._key = options, body, jax.random.key(seed)
        self._camera = camera or CameraOptions()
        self._waiting: list[_Waiting] = []
        self._is_cut: list[bool] = []
        self._answers: list[RegressedPerson] = []

    @property
    def density(self) -> Regressor | None:
        """The network, if its density is to be a prior of the fits."""
        return self._regressor if self._options.flow_prior else None

    def look(self, image: UInt8[np.ndarray, "H W 3"], people: Sequence[Sighting]) -> None:
        """Take in the people of one picture.

        Args:
            image: RGB.
            people: Whoever cannot be cut out (a box of no size, or far out of the picture) gets no answer.
        """
        if not people:
            return
        noted = [with_noted_camera(person.picture, self._camera) for person in people]
        people = [dataclasses.replace(person, picture=own) for person, own in zip(people, noted, strict=True)]
        height, width = image.shape[:2]
        bbox = np.stack([person.bbox for person in people]).astype(np.float32)
        faults = crop_rules.box_faults(bbox, self._rule, width=width, height=height)
        can = np.array([fault is None for fault in faults])
        self._is_cut += can.tolist()
        if can.any():
            crops = cut_people(image, bbox[can], self._rule)
            cut = [person for person, is_cut in zip(people, can, strict=True) if is_cut]
            context = self._context(crops, cut)
            for place, crop in enumerate(crops.image):
                own = operator.itemgetter(slice(place, place + 1))
                self._waiting.append(
                    _Waiting(image=crop, context=jax.tree.map(own, context), observations=_seen_of(cut[place]))
                )
        while len(self._waiting) >= self._batch_size:
            self._ask(self._batch_size)

    def answers(self) -> list[RegressedPerson | None]:
        """Of all people since the last call, in the order in which they came."""
        while self._waiting:
            self._ask(_batch_of(len(self._waiting)))
        told = iter(self._answers)
        answers = [next(told) if is_cut else None for is_cut in self._is_cut]
        self._answers, self._is_cut = [], []
        return answers

    def _ask(self, count: int) -> None:
        some, self._waiting = self._waiting[:count], self._waiting[count:]
        images = np.stack([one.image for one in some])
        context, observations = (
            jax.tree.map(lambda *leaves: np.concatenate(leaves), *each)
            for each in zip(*[(one.context, one.observations) for one in some], strict=True)
        )
        output, features = jax.tree.map(np.asarray, self._answer(images, context, observations))
        for place, one in enumerate(some):
            self._answers.append(
                RegressedPerson(
                    global_orient=output.global_orient[place],
                    body_pose=output.body_pose[place],
                    betas=output.betas[place],
                    weak_camera=output.weak_camera[place],
                    box_center=np.asarray(one.context.box.center)[0],
                    box_size=float(np.asarray(one.context.box.size)[0]),
                    told_focal_length=float(np.asarray(one.context.focal_length)[0])
                    if self._regressor.sees_picture
                    else None,
                    features=None if features is None else features[place],
                )
            )

    def _answer(
        self, images: np.ndarray, context: CropContext, observations: Observations
    ) -> tuple[RegressorOutput, AnyArray | None]:
        """One body for each crop, by the network alone or with the keypoints; and what it saw, if that is kept."""
        if self.record.model in _DENSITIES:
            features = seen_features(self._regressor, images)
            count = self._options.num_samples
            output = bodies_of_features(self._regressor, features, self._key, num_samples=count)
            if count > 1:
                output = choose_by_keypoints(output, self._body, observations, context.box).output
            else:
                output = jax.tree.map(lambda leaf: leaf[:, 0], output)
            return output, features if self._options.flow_prior else None
        told = context if self._regressor.sees_picture else None
        if self._options.finetune_steps:
            chosen = FinetuneOptions(max_steps=self._options.finetune_steps)
            tuned = finetune(
                self._regressor, images, self._body, observations, context.box, context=told, options=chosen
            )
            return tuned.output, None
        return regress(self._regressor, images, told), None

    def _context(self, crops: RegressorCrops, people: Sequence[Sighting]) -> CropContext:
        """Where crops lie, before the camera that the network was trained with."""
        context = crop_context.diagonal_context(crops.box, crops.image_size)
        if self.record.model in _KNOWN_CAMERA:
            focal = np.array([np.asarray(person.picture.camera.focal_length).mean() for person in people], np.float32)
            context = dataclasses.replace(context, focal_length=focal)
        return jax.tree.map(np.asarray, context)


def _seen_of(person: Sighting) -> Observations:
    """What answers are compared with."""
    return dataclasses.replace(to_observations([person]), keypoints_3d=None, confidence_3d=None)


def _batch_of(count: int) -> int:
    """People asked about at once, of whom so many are left: few sizes are ever compiled, and nobody is asked twice."""
    size = 1
    while 4 * size <= count:
        size *= 4
    return size


def start_of_sightings(body: BodyModel, sightings: Sequence[Sighting], camera: Camera | None) -> RegressorStart | None:
    """Starts of people of whom a network was asked; None if it was asked of nobody.

    Args:
        body: That is fitted.
        sightings: N people.
        camera: Of their pictures, one a person.
    """
    known = [sighting.regressed for sighting in sightings if sighting.regressed is not None]
    if not known or camera is None:
        return None
    told = {
        name: _rows_of_answers(sightings, name)
        for name in ("global_orient", "body_pose", "betas", "weak_camera", "box_center", "box_size")
    }
    # Where the network was not asked the box is the person's own, for somebody usual in the middle of it.
    own = np.stack([sighting.bbox for sighting in sightings]).astype(np.float32)
    is_told = np.isfinite(told["box_size"])
    center = np.where(is_told[:, None], told.pop("box_center"), 0.5 * (own[:, :2] + own[:, 2:]))
    size = np.where(is_told, told.pop("box_size"), np.maximum((own[:, 2:] - own[:, :2]).max(-1), 1.0))
    focal_length = None
    if known[0].told_focal_length is not None:
        usual = np.broadcast_to(np.asarray(camera.focal_length, np.float32), (len(sightings), 2)).mean(-1)
        focal_length = np.where(is_told, _rows_of_answers(sightings, "told_focal_length"), usual)
    return start_from_regressor(
        body,
        RegressorOutput(**told),
        CropBox(center=center, size=size),
        camera,
        told_focal_length=focal_length,
    )


def flow_prior_of_sightings(
    network: Regressor | None,
    body: BodyModel,
    sightings: Sequence[Sighting],
    start: RegressorStart | None,
    observations: Observations,
    options: FitOptions,
) -> FlowPrior | None:
    """A network's density of the poses of people as a term of their fits; None if it is not asked for.

    Args:
        network: Whose density; see `PeopleRegressor.density`.
        body: That is fitted.
        sightings: N people.
        start: Of them, of the same network.
        observations: Of them, as they are fitted.
        options: Of the fit.
    """
    if network is None or start is None or not start.is_usable.any():
        return None
    sides = np.array([max(one.picture.width, one.picture.height) for one in sightings], np.float32)
    weight = published_weight(body, observations, sides, options=options)
    return flow_prior(network, _rows_of_answers(sightings, "features"), body, start, weight=weight)


def _rows_of_answers(sightings: Sequence[Sighting], name: str) -> np.ndarray:
    """What a network says of each person; numbers that are none where it was not asked."""
    known = next(one.regressed for one in sightings if one.regressed is not None)
    nothing = np.full_like(getattr(known, name), np.nan, np.float32)
    answers = (one.regressed for one in sightings)
    return np.stack([nothing if one is None else np.asarray(getattr(one, name), np.float32) for one in answers])


def check_network(options: InitialiseOptions) -> None:
    """Refuse a folder that holds no network, or another one, before anything is loaded.

    Raises:
        FileNotFoundError: If there is no such folder.
        RegressorFileError: If it holds no regressor, or another one.
    """
    folder = str(options.checkpoint)
    found = read_record(folder).model
    if found != options.network:
        raise RegressorFileError(f"{folder} holds `{found}`, and `{options.network}` is asked for")


def network_record(record: RegressorRecord) -> dict[str, object]:
    """The network as `run.json` holds it."""
    return {
        "model": record.model,
        "num_parameters": record.num_parameters,
        "source": record.source_name,
        "source_sha256": record.source_sha256,
    }
