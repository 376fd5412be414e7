"""Training of HMR on labels, for `tools.train`; `configs/train_hmr2.py` has the same sections.

Variants: `full` (SPIN's optimiser and augmentation), `smoke` (a small network for minutes on a laptop).
"""

from ml_collections import config_dict

VARIANTS = ("full", "smoke")


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    return regressor_config("hmr", variant)


def regressor_config(network: str, variant: str) -> config_dict.ConfigDict:
    """Options that all networks share, with what is published for each."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/train_{network}.py; known: {', '.join(VARIANTS)}")
    is_smoke, is_hmr2 = variant == "smoke", network == "hmr2"
    config = config_dict.ConfigDict()
    config.kind = "regressor"
    config.network = config_dict.create(
        network=network,  # hmr, hmr2, cliff, bedlam_cliff, hardmo_hmr, prohmr
        checkpoint=config_dict.placeholder(str),  # folder of tools.convert_checkpoint or of an earlier run
        size="small" if is_smoke else "full",
        numbers="float32",  # bfloat16: faster on many accelerators
    )
    config.body_model = "open_body"  # or a SMPL file
    config.sources = ()  # beside --labels and --images: see docs/training.md
    config.mocap = config_dict.placeholder(str)  # .npz of poses for the discriminator (hmr2, hardmo_hmr, prohmr)
    config.labels = config_dict.create(
        takes_filled=False,  # people who were lost for a moment
        takes_doubtful=True,  # people who are seen badly
        doubtful_weight=0.5,  # of them, beside 1 of others
        believes_scores=True,  # feet and hands count by how probably they are right
    )
    config.validation_share = 0.2 if is_smoke else 0.05  # of pictures and videos
    config.validation_people = 64 if is_smoke else 512
    config.sample = config_dict.create(
        augmentation=config_dict.create(
            shift=0.02,
            scale=0.3 if is_hmr2 else 0.25,
            rotation_degrees=30.0,
            rotation_rate=0.6 if is_hmr2 else 0.4,
            flip_rate=0.5,
            colour=0.2 if is_hmr2 else 0.4,
            part_rate=0.1 if is_hmr2 else 0.0,
        ),
        occlusion_rate=0.0,
        occlusion_size=0.4,  # largest side of what hides somebody, sides of the crop
        most_broken=0.05,  # share of samples without pixels or labels
    )
    config.objective = config_dict.create(
        num_samples=2,  # bodies a crop of ProHMR
        hmr2=config_dict.create(
            keypoints_2d=0.01, keypoints_3d=0.05, global_orient=0.001, body_pose=0.001, betas=0.0005, adversarial=0.0005
        ),
        spin=config_dict.create(
            keypoints_2d=5.0,
            keypoints_3d=5.0,
            global_orient=1.0,  # 0 for BEDLAM's, which leaves the root to keypoints
            body_pose=1.0,
            betas=0.001,
            camera=1.0,
            openpose=0.0,  # of OpenPose's points beside annotated ones
            total=60.0,
        ),
        prohmr=config_dict.create(
            negative_log_prob=0.001,
            keypoints_2d=0.01,
            keypoints_2d_samples=0.001,
            keypoints_3d=0.05,
            keypoints_3d_samples=0.0,
            global_orient=0.001,
            body_pose=0.001,
            betas=0.0005,
            orthogonality=0.1,
            adversarial=0.0005,
        ),
        parts=config_dict.create(
            hand_keypoints_2d=0.0,  # HardMo's terms of wrists and fingertips, 0.01 say
            hand_keypoints_3d=0.0,
            feet=1.0,  # factors on their keypoints
            wrists=1.0,
            noise_threshold=0.0,  # sides of the crop, 0.005 say
            below_threshold=0.1,
        ),
    )
    config.step = config_dict.create(
        learning_rate=3e-4 if is_smoke else 1e-5 if is_hmr2 else 5e-5,
        schedule="constant",
        warmup_steps=20 if is_smoke else 0,
        weight_decay=1e-4 if is_hmr2 else 0.0,
        clip_norm=1.0 if is_smoke else 0.0,
        average_decay=0.95 if is_smoke else 0.999,
        accumulate=1,
        discriminator_learning_rate=1e-5,  # 1e-4 in ProHMR
        discriminator_weight_decay=1e-4,
    )
    config.run = config_dict.create(
        steps=120 if is_smoke else 1_000_000 if is_hmr2 else 300_000,
        batch_size=16 if is_smoke else 48 if is_hmr2 else 64,  # crops a step, of all devices together
        report_every=10 if is_smoke else 100,
        validate_every=60 if is_smoke else 5_000,
        checkpoint_every=30 if is_smoke else 1_000,
        keep=3,
        seed=0,
    )
    config.loader_threads = 2
    return config
