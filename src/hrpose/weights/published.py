"""Published weight files: their names and URLs.

docs/weights.md lists their expected results. Names are file names, with or without digest, date and suffix: `hrnet_w32` is
hrnet_w32-36af842e.pth. Only the standard library is imported.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

_MMPOSE = "https://download.openmmlab.com/mmpose"
_TORCHVISION = "https://download.pytorch.org/models"
HRNET_PAGE = (
    "https://drive.google.com/drive/folders/1hOTihvbyIxsm5ygDpbUuJ7O_tzv4oXjC or https://1drv.ms/f/s!AhIXJn_J-blW231MH2krnmLq5kkQ"
)

# from the READMEs and model indices of the authors; the files of the HRNet authors have no direct URL
_DIRECT = {
    f"{_MMPOSE}/pretrain_models": ("hrnet_w32-36af842e.pth", "hrnet_w48-8ef0771d.pth"),
    _TORCHVISION: (
        *("resnet18-5c106cde.pth", "resnet34-333f7ec4.pth", "resnet50-19c8e357.pth"),
        *("resnet101-5d3b4d8f.pth", "resnet152-b121ed2d.pth"),
    ),
    f"{_MMPOSE}/v1/body_2d_keypoint/topdown_heatmap/coco": (
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth",
        "td-hm_hrnet-w32_8xb64-210e_coco-384x288-ca5956af_20220909.pth",
        "td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth",
        "td-hm_hrnet-w48_8xb32-210e_coco-384x288-c161b7de_20220915.pth",
        "td-hm_hrnet-w32_dark-8xb64-210e_coco-256x192-0e00bf12_20220914.pth",
        "td-hm_hrnet-w32_dark-8xb64-210e_coco-384x288-9bab4c9b_20220917.pth",
        "td-hm_hrnet-w48_dark-8xb32-210e_coco-256x192-e1ebdd6f_20220913.pth",
        "td-hm_hrnet-w48_dark-8xb32-210e_coco-384x288-39c3c381_20220916.pth",
        "td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192-73ede547_20220914.pth",
        "td-hm_hrnet-w32_udp-8xb64-210e_coco-384x288-9a3f7c85_20220914.pth",
        "td-hm_hrnet-w48_udp-8xb32-210e_coco-256x192-3feaef8f_20220913.pth",
        "td-hm_hrnet-w48_udp-8xb32-210e_coco-384x288-70d7ab01_20220913.pth",
        "td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192-9c0b77b4_20220926.pth",
        "td-hm_res50_8xb64-210e_coco-256x192-04af38ce_20220923.pth",
        "td-hm_res50_8xb64-210e_coco-384x288-7b8db90e_20220923.pth",
        "td-hm_res101_8xb64-210e_coco-256x192-065d3625_20220926.pth",
        "td-hm_res152_8xb32-210e_coco-256x192-0345f330_20220928.pth",
        "td-hm_res152_8xb32-210e_coco-384x288-7fbb906f_20220927.pth",
    ),
    f"{_MMPOSE}/v1/body_2d_keypoint/simcc/coco": (
        "simcc_res50_8xb64-210e_coco-256x192-8e0f5b59_20220919.pth",
        "simcc_res50_8xb32-140e_coco-384x288-45c3ba34_20220913.pth",
    ),
    f"{_MMPOSE}/v1/body_2d_keypoint/topdown_regression/coco": (
        "td-reg_res50_8xb64-210e_coco-256x192-72ef04f3_20220913.pth",
        "td-reg_res50_rle-8xb64-210e_coco-256x192-d37efd64_20220913.pth",
        "td-reg_res50_rle-pretrained-8xb64-210e_coco-256x192-2cb494ee_20220913.pth",
    ),
    f"{_MMPOSE}/v1/body_2d_keypoint/integral_regression/coco": ("ipr_res50_8xb64-210e_coco-256x256-a3898a33_20220913.pth",),
    f"{_MMPOSE}/top_down/deeppose": (
        *("deeppose_res101_coco_256x192-2f247111_20210205.pth", "deeppose_res152_coco_256x192-7df89a88_20210205.pth"),
        *("deeppose_res101_coco_256x192_rle-16c3d461_20220615.pth", "deeppose_res152_coco_256x192_rle-c05bdccf_20220615.pth"),
        "deeppose_res152_coco_384x288_rle-b77c4c37_20220624.pth",
    ),
    f"{_MMPOSE}/top_down/hrnet": (
        *("hrnet_w32_coco_256x192-c78dce93_20200708.pth", "hrnet_w32_coco_384x288-d9f0d786_20200708.pth"),
        *("hrnet_w48_coco_256x192-b9e0b3ab_20200708.pth", "hrnet_w48_coco_384x288-314c8528_20200708.pth"),
        *("hrnet_w32_mpii_256x256-6c4f923f_20200812.pth", "hrnet_w48_mpii_256x256-92cab7bd_20200812.pth"),
        *("hrnet_w32_mpii_256x256_dark-f1601c5b_20200927.pth", "hrnet_w48_mpii_256x256_dark-0decd39f_20200927.pth"),
    ),
    f"{_MMPOSE}/top_down/resnet": (
        "res101_coco_384x288-8c71bdc9_20200709.pth",  # the index of 1.x has the URL of another file here
        *("res50_mpii_256x256-418ffc88_20200812.pth", "res101_mpii_256x256-416f5d71_20200812.pth"),
        "res152_mpii_256x256-3ecba29d_20200812.pth",
    ),
}
_BY_HAND = (
    *(f"pose_hrnet_{width}_{size}.pth" for width in ("w32", "w48") for size in ("256x192", "384x288", "256x256")),
    *(f"pose_resnet_{depth}_{size}.pth" for depth in (50, 101, 152) for size in ("256x192", "384x288", "256x256")),
)
# the digest, as in names of torch.hub and MMPose, and a date
_DIGEST = re.compile(r"-([0-9a-f]{8,64})(?:_\d{8})?(?=\.[a-z.]+$)")


PUBLISHED: dict[str, str | None] = {
    **{name: f"{folder}/{name}" for folder, names in _DIRECT.items() for name in names},
    **dict.fromkeys(_BY_HAND),
}
"""The URL of each known file by its name; None if it must be downloaded manually from `HRNET_PAGE`."""


def find_published(name: str) -> str | None:
    """Return the name of a file, which may be without digest, date and suffix, or its URL; None if unknown."""
    return next((file for file, url in PUBLISHED.items() if name in (file, shorten(file), url)), None)


def shorten(name: str) -> str:
    """Remove digest, date and suffix from a file's name."""
    return _DIGEST.sub("", name).removesuffix(".pth")


def suggest(name: str) -> str:
    """Return " Did you mean a, or b?" with the most similar known names; "" if none is similar."""
    close = get_close_matches(name, [*PUBLISHED, *map(shorten, PUBLISHED)], n=2, cutoff=0.8)
    return f" Did you mean {', or '.join(close)}?" if close else ""


def digest_of(name: str) -> str | None:
    """Return the first digits of a file's SHA-256 from its name; None if the name has none."""
    found = _DIGEST.search(name)
    return found[1] if found else None


def is_address(text: str) -> bool:
    """Check whether a string is a URL."""
    return text.lower().startswith(("http://", "https://"))


def cached_file(name: str, cache_dir: Path | str | None = None) -> Path:
    """Return the path of a weight file in the cache: `weights` in `cache_dir`, $HRPOSE_CACHE or ~/.cache/hrpose."""
    home = cache_dir or os.environ.get("HRPOSE_CACHE") or Path.home() / ".cache" / "hrpose"
    return Path(home) / "weights" / name


def say_by_hand(name: str, place: Path) -> str:
    """Describe how to download a file without direct URL."""
    return f"{name} has no direct URL. Download it from {HRNET_PAGE}, and save it as {place} or give its path."
