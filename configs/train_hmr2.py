"""Training of HMR 2.0 on labels, for `tools.train`.

Variants: `full` (4DHumans' optimiser and augmentation; ViT-H), `smoke` (a small network for minutes on a laptop).
"""

from ml_collections import config_dict

from configs.train_hmr import regressor_config


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.train`."""
    return regressor_config("hmr2", variant)
