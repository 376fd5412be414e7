"""Errors of poses and keypoints as the field reports them.

NumPy in double precision: an evaluation must give the same digits on every machine it runs on. Lengths are metres,
angles degrees, image points pixels; millimetres belong to reports. A point without truth is said by a mask, never by
NaN; a prediction that is NaN where there is truth makes its sample NaN, and the accumulators count it.

`protocols` says which points, root, box and thresholds a number stands for, `scores` applies one to samples,
`accumulate` adds up shards, `bootstrap` compares two methods; `pose` and `keypoints` hold the formulas.

    >>> import numpy as np
    >>> from hardmo_jax.metrics import protocols, scores
    >>> protocol = protocols.get_protocol("smpl24")
    >>> truth = np.random.default_rng(0).normal(size=(2, 24, 3))
    >>> result = scores.score_samples(protocol, predicted_3d=truth + 0.1, true_3d=truth)
    >>> bool(result.errors["mpjpe/joints_24"].values.max() < 1e-12)
    True
"""
