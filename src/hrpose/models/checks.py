"""What every network asks of its arguments and its images before it works with them."""

import torch
from torch import Tensor


def check_counts(**counts: int) -> None:
    """Raise unless every argument is a positive whole number.

    Raises:
        ValueError: with the name of the first that is not.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected argument `{name}` to be a whole number of at least 1, but got {value!r}.")


def check_final_kernel(final_kernel: int) -> None:
    """Raise unless the side of a head's kernel is a positive odd number.

    Raises:
        ValueError: if it is not.
    """
    check_counts(final_kernel=final_kernel)
    if final_kernel % 2 == 0:
        raise ValueError(f"Expected argument `final_kernel` to be odd (1 in the paper, or 3), but got {final_kernel}.")


def check_images(images: Tensor, multiple: int, *, least: int = 1, heatmap_stride: int = 4) -> None:
    """Raise unless a network can take the images; nothing is checked while a graph is traced.

    Args:
        images: what should be (B, 3, H, W).
        multiple: what H and W have to be multiples of: the stride of the network's coarsest features.
        least: the shortest H and W that the network can take.
        heatmap_stride: pixels to a heatmap cell.

    Raises:
        ValueError: if the shape is another; for sides that do not fit it says which ones near them do.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"Expected argument `images` to be (B, 3, H, W), but got the shape {tuple(images.shape)}.")
    height, width = images.shape[2:]
    if height % multiple or width % multiple or min(height, width) < least:
        near = [max(-(-least // multiple), 1, round(side / multiple)) * multiple for side in (width, height)]
        bound = f" of at least {least}" if least > multiple else ""
        raise ValueError(
            f"Expected images whose width and height are multiples of {multiple}{bound}, but got {width} x {height} (width x "
            f"height). The nearest size is {near[0]} x {near[1]}: set the codec's input_size to ({near[0]}, {near[1]}) and its "
            f"heatmap_size to ({near[0] // heatmap_stride}, {near[1] // heatmap_stride})."
        )
