import numpy as np
import pytest
import torch

from hrpose.data.crops import IMAGENET_MEAN, IMAGENET_STD, Normalization

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, 4, 5, 3), np.uint8))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalization_subtracts_the_mean_divides_by_std_and_can_be_undone(order) -> None:
    normalised = Normalization(order)(IMAGES)
    ordered = IMAGES.numpy()[..., :: 1 if order == "rgb" else -1]
    want = (ordered / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(normalised.permute(0, 2, 3, 1).numpy(), want, atol=1e-6)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(Normalization(order).undo(normalised), IMAGES.numpy())


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match='"rgb" or "bgr"'):
        Normalization("grb")
    with pytest.raises(ValueError, match="three numbers each"):
        Normalization(mean=[0.5])
    with pytest.raises(ValueError, match="positive std"):
        Normalization(std=[1, 1, 0])
