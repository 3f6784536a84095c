"""A JPEG of 80 x 60 pixels, as a phone writes it."""

import cv2
import numpy as np


def jpeg(orientation: int | None = None) -> bytes:
    """Encode noise, with an EXIF segment that has the orientation, if given."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    content = cv2.imencode(".jpg", cv2.resize(noise, (80, 60)))[1].tobytes()
    if orientation is None:
        return content
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + content[2:]
