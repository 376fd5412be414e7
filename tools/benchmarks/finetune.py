"""Fine-tuning of an untrained HMR on each of some rendered people: what becomes of their errors, and how fast."""

import dataclasses
import time

import numpy as np

_PEOPLE = 64


def finetune_rows() -> list[dict[str, object]]:
    """Full-size HMR of random weights that answers with somebody upright; keypoints are the true ones."""
    import jax.numpy as jnp

    from hardmo_jax.body import load
    from hardmo_jax.geometry.cameras import Camera
    from hardmo_jax.geometry.crop_cameras import CropBox
    from hardmo_jax.networks import regressors
    from hardmo_jax.networks.hmr import HmrOptions
    from hardmo_jax.observations import Observations
    from hardmo_jax.perception import crop_rules
    from hardmo_jax.perception.people import LAYOUT_NAME
    from hardmo_jax.perception.regressor_crops import cut_people
    from hardmo_jax.pipelines import rendered_people
    from hardmo_jax.recovery.finetune import FinetuneOptions, FinetuneStatus, finetune

    body = load.open_body(view="smplh")
    pictures = list(rendered_people.rendered_pictures(body, 10, _PEOPLE, 1))
    points = np.stack([one.people[0].keypoints_2d for one in pictures])
    confidence = np.stack([one.people[0].confidence for one in pictures])
    points = np.where(confidence[..., None] > 0, points, np.nan)
    boxes = np.concatenate([np.nanmin(points, 1), np.nanmax(points, 1)], -1).astype(np.float32)
    rule = dataclasses.replace(crop_rules.crop_rule("hmr"), growth=1.2)
    crops = [cut_people(one.frame.image, box[None], rule) for one, box in zip(pictures, boxes, strict=True)]
    images = np.concatenate([one.image for one in crops])
    box = CropBox(
        center=np.concatenate([np.asarray(one.box.center) for one in crops]),
        size=np.concatenate([np.asarray(one.box.size) for one in crops]),
    )
    side = pictures[0].frame.image.shape[0]
    camera = Camera(focal_length=np.full(2, rendered_people.FOCAL_LENGTH), principal_point=np.full(2, (side - 1) / 2))
    seen = Observations(keypoints_2d=np.nan_to_num(points), confidence=confidence, camera=camera, layout=LAYOUT_NAME)
    blank = regressors.untrained("hmr", HmrOptions(), seed=0)
    arrays = {path: np.asarray(leaf) for path, leaf in regressors.named_weights(blank.weights).items()}
    upright = np.tile(np.array([1, 0, 0, 1, 0, 0], np.float32), (24, 1))
    upright[0] = [1, 0, 0, -1, 0, 0]
    arrays |= {"head.init_pose": upright.reshape(1, -1), "head.init_cam": np.array([[0.9, 0, 0]], np.float32)}
    network = regressors.with_arrays("hmr", HmrOptions(), arrays, dtype=jnp.float32)
    rows: list[dict[str, object]] = []
    for layers in ("last", "all"):
        options = FinetuneOptions(layers=layers)
        seconds, tries = [], []
        for _ in range(2):
            start = time.perf_counter()
            tries.append(finetune(network, images, body, seen, box, options=options))
            seconds.append(time.perf_counter() - start)
        found = tries[-1]
        sides = np.asarray(box.size)
        rows.append(
            {
                "measure": "finetune", "model": "hmr", "people": _PEOPLE, "layers": layers, "steps": options.max_steps,
                "median_error_before_box_sides": float(np.median(found.start_error / sides)),
                "median_error_after_box_sides": float(np.median(found.error / sides)),
                "share_nearer": float(np.mean(found.error < found.start_error)),
                "share_worse": float(np.mean(found.error > found.start_error)),
                "share_near_enough": float(np.mean(found.status == FinetuneStatus.ENOUGH)),
                "people_a_second": _PEOPLE / seconds[1], "first_call_seconds": seconds[0],
            }
        )  # fmt: skip
    return rows
