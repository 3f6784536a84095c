"""The training data path: tables of instances and images become crops, and crops become batches."""

import os

os.environ.setdefault(
    "NO_ALBUMENTATIONS_UPDATE", "1"
)  # otherwise importing albumentations looks for a newer version online
