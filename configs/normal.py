"""The Normal Annotation stage: label everything once.

Command:  python -m tools.annotate --config=configs/normal.py --input=clip.mp4
Hardware: a laptop; 2 cores label about one frame a second, most of it perception.
Expected: median reprojection error of confident keypoints about 1 % of the person's box for the body.
Variants: `full`; `multi_start`, eight starts side by side of which the ranker takes one, for keypoints whose left and
right may be exchanged, and to keep what else a person might be in the label; `headings`, SMPLify without the lifter;
and `smoke` (one search scale, no second look, no scores of feet and hands) for tests.

The lifter says where people are, and the fit starts there. The stages of `headings`
follow SMPLify (Bogo et al., ECCV 2016): camera and heading first, then pose and shape under a prior that is relaxed.
Spreads are about those of BlazePose keypoints against annotators.
"""

from ml_collections import config_dict

#: Starts of a fit; names in `hardmo_jax.recovery.starts`.
HYPOTHESES = ("guess_1", "guess_2", "guess_3", "guess_4", "plain", "swapped", "swapped_legs", "ends_flipped")


def _stage(iterations: int, **weights: object) -> config_dict.ConfigDict:
    return config_dict.create(iterations=iterations, **weights)


def _source(detector: str) -> dict[str, object]:
    """A source of people and keypoints."""
    return {
        # auto: by the suffix of detector_file, else YOLO if its weights are in the model folder, else blazepose;
        # or blazepose, yolo (.pt of ultralytics), onnx (RTMDet, YOLOX, YOLO), files (of another program)
        "detector": detector,
        "detector_file": config_dict.placeholder(str),
        "keypoints": "auto",  # who measures points in the boxes: blazepose, onnx, detector (YOLO-pose), files
        "keypoints_file": config_dict.placeholder(str),  # RTMPose, RTMW, DWPose, ViTPose; of `files`: JSON or a folder
        "keypoints_layout": config_dict.placeholder(str),  # coco17, ..., or names with commas; by number of points
        "keypoints_first_frame": config_dict.placeholder(int),  # 0 or 1, of `files` of a video; as the files look
        "heatmaps": "udp",  # or msra: how a model of heatmaps was trained
        "allow_download": False,  # of YOLO weights that are missing
    }


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.annotate`."""
    if variant not in ("full", "smoke", "headings", "multi_start"):
        raise ValueError(f"unknown variant {variant!r} of configs/normal.py; known: full, smoke, headings, multi_start")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.seed = 0
    config.body = config_dict.create(
        model="open_body",  # or the path of SMPL_NEUTRAL.pkl or .npz
        view="smplh",  # `smpl`: 24 joints, hands rigid
    )
    config.camera = config_dict.create(
        # auto: the field of view if it is given, else EXIF, else a focal length of the image diagonal (CLIFF);
        # solve: one for all frames of a video, from how the people look; or exif, field_of_view, diagonal
        source="auto",
        field_of_view_degrees=config_dict.placeholder(float),  # across the diagonal
    )
    config.frames = config_dict.create(  # of a video
        start_seconds=0.0,
        end_seconds=config_dict.placeholder(float),
        stride=1,  # every second, third, ... frame or photo; people are followed from 6 frames a second on
    )
    config.perception = config_dict.create(
        **_source("auto"),
        feet_from=config_dict.create(**_source("same")),  # another source whose feet are taken
        hands_from=config_dict.create(**_source("same")),
        fusion=config_dict.create(most_apart=0.1, most_base_apart=0.06, least_confidence=0.4),  # when it is believed
        calibration=config_dict.placeholder(str),  # what confidences are worth, by tools.calibrate
        tracker="overlap",  # or bytetrack, botsort: of ultralytics
        tiles=(1.35,) if is_smoke else (1.35, 2.0, 2.5),  # search scales beside the whole picture
        extra_looks=0 if is_smoke else 2,
        turned="when_empty",  # search the picture turned by 90, 180 and 270 degrees too: never, when_empty, always
        max_people=32,  # a picture
        min_box_score=0.25,  # of detectors of boxes
        min_score=0.35,  # from which BlazePose believes in somebody
        hands=True,  # look for fingers
        detect_every=10,  # frames of a video between two searches
    )
    # When there is a reason to doubt how well a person is seen; labels hold the reasons, and the numbers behind them.
    config.quality = config_dict.create(
        small_below_pixels=64.0,  # longer side of the box
        blurred_below=1.33,  # one over the blur of a body shrunk to 256 pixels: 2.5 % of its head
        truncated_above=0.1,  # share of the body that the picture's edge cuts off
        occluded_above=0.3,  # share of the body that something covers
        few_points_below=8,  # trusted keypoints of the body, of 17
        drop=(),  # reasons for which a person gets no label, e.g. ("blurred", "few_points")
    )
    config.start = config_dict.create(
        kind="headings" if variant == "headings" else "lifter",
        hypotheses=HYPOTHESES if variant == "multi_start" else ("guess_1",),  # fitted side by side
        second_look=not is_smoke,  # ask the lifter again with outliers and gaps filled in
    )
    config.initialise = config_dict.create(  # a regressor from whose answers fits start instead
        network="none",  # hmr, hmr2, cliff, bedlam_cliff, hardmo_hmr, prohmr
        checkpoint=config_dict.placeholder(str),  # folder that tools.convert_checkpoint made
        batch_size=16,  # people at once
        numbers="float32",  # bfloat16: faster on many accelerators
        finetune_steps=0,  # of the last layers for each person's keypoints (EFT), 50 say; not of prohmr
        num_samples=1,  # bodies that prohmr draws, of which the one nearest to the keypoints is taken, 16 say
        flow_prior=False,  # whether prohmr's density of poses is a prior of fits of photos too
    )
    headings = {
        "explore": (
            _stage(5, free=("transl", "global_orient"), hands=0.0, robust_scale=0.5),
            _stage(14, hands=0.0, pose_prior=2.0, joint_limits=0.3, robust_scale=0.5),
        ),
        "refine": (
            # 42 finger points would outvote 17 body points: they come in when the body is in place
            _stage(12, hands=0.1, robust_scale=0.3),
            _stage(10, hands=0.4, robust_scale=0.15),
            _stage(20, pose_prior=0.7, robust_scale=0.08),
        ),
    }
    # From the lifter's guess one stage is enough; `guess` is how firmly the fit is held to it.
    lifted = {
        "explore": (_stage(1),),
        "refine": (
            _stage(
                5, hands=0.5, pose_prior=0.5, hand_prior=0.0, shape_prior=0.25, guess=0.9, robust_scale=0.25,
                converged_below=1e-3,
            ),
        ),
        "part_weights": config_dict.create(body=1.0, hips=0.7, face=0.7, feet=0.8, hands=1.2),
    }  # fmt: skip
    config.fit = config_dict.create(
        solver="levenberg_marquardt",
        prior="mixture",  # gaussian; written: read off anatomy instead of learnt
        yaw_starts=4,  # headings tried
        **(headings if variant == "headings" else lifted),
        keypoints_2d_spread=0.01 if variant == "headings" else 0.008,  # box sides
        keypoints_3d_spread=0.06,  # metres: BlazePose's world landmarks are a guess
    )
    config.fit.temporal = variant not in ("headings", "multi_start")  # frames of a person in a video fitted together
    # auto: by whether the background moves; True; or False: feet are not held where they stand, no floor is reported
    config.fit.camera_is_fixed = config_dict.FieldReference("auto", field_type=object)
    config.fit.longest_take = 1000  # frames of a shot fitted together; a longer one in takes that overlap by 60
    config.motion = config_dict.create(
        acceleration_spread=15.0,  # m/s^2 where the lifter sees none: smaller is smoother
        acceleration_share=3.0,  # grows with the acceleration that it sees
        stands_from=0.05,  # probability of standing at which a foot begins to be held
        stands_surely=0.4,  # and from which it is held fully
        lock_spread=0.0015,  # metres a frame that standing feet may slip
        lock_scale=0.02,  # metres a frame of feet that do not stand, whatever was said
        shape_iterations=2,
        iterations=3,
        shape_share=0.06,  # of what each frame says of the shape; 0: the lifter's
        shape_frames=64,
        gradient_steps=16,
        window_frames=64,  # solved together
        overlap_frames=16,
        longest_gap_seconds=1.25,  # filled in
    )
    config.output = config_dict.create(
        overlay=True,  # draw the meshes over the pictures
        renderer="auto",  # gl, painter, or gl where there is one
        side_by_side=True,  # the untouched picture beside the overlay
        show_keypoints=True,  # blue: left, orange: right
        part_scores=not is_smoke,  # how probably each foot and hand is wrong: one more fit a person
        category=config_dict.placeholder(str),  # class of the motion, e.g. "ballet"
        licence=config_dict.placeholder(str),  # licence of the pictures
    )
    return config
