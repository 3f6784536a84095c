import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpose.codecs.cells import gaussian_blur, gaussian_kernel, newton_steps


@pytest.mark.parametrize("size", [1, 3, 5, 7, 11, 13, 15, 17, 23])
def test_kernels_are_opencvs(size):
    torch.testing.assert_close(
        torch.tensor(gaussian_kernel(size)), torch.from_numpy(cv2.getGaussianKernel(size, 0, cv2.CV_32F))[:, 0]
    )


@pytest.mark.parametrize("size", [1, 3, 7, 11, 23])
@pytest.mark.parametrize("mirrored", [True, False])
def test_blurs_are_opencvs(size, mirrored):
    maps = torch.randn(2, 3, 20, 14)
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    want = [cv2.GaussianBlur(one.numpy(), (size, size), 0, borderType=border) for one in maps.flatten(0, 1)]
    found = gaussian_blur(maps, size, mirrored_border=mirrored).flatten(0, 1)
    for found_map, expected in zip(found, want, strict=True):
        torch.testing.assert_close(found_map, torch.from_numpy(expected), atol=1e-6, rtol=0)


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 3), st.floats(0.2, 3), st.floats(-0.1, 0.1))
def test_a_newton_step_leads_to_the_extremum_of_a_parabola(x, y, a, b, c):
    values = [torch.tensor(value, dtype=torch.float64) for value in (-a, c, -b)]
    gradient = torch.tensor([a * x - c * y, b * y - c * x], dtype=torch.float64)  # H (0 - top)
    torch.testing.assert_close(
        newton_steps(gradient, (values[0], values[1], values[2])), torch.tensor([x, y], dtype=torch.float64)
    )


def test_without_an_extremum_there_is_no_step():
    flat = torch.zeros(())
    assert newton_steps(torch.tensor([1.0, 0.0]), (flat, flat, flat)).tolist() == [0, 0]
    assert newton_steps(torch.tensor([float("nan"), 0.0]), (flat - 1, flat, flat - 1)).tolist() == [0, 0]
