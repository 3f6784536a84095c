"""The training data path: tables of instances and images become crops, and crops become batches."""

import os

# otherwise importing albumentations looks for a newer version online
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
