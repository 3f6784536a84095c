"""The data path: annotation files become packed tables, images become crops, crops become batches."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing albumentations asks the network otherwise
