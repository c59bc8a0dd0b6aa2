"""SSIM against MONAI, SSL pixel by pixel, RMI against numpy."""

import numpy as np
import pytest
import torch

from massmatch.losses.rivals.region import RMI, SSIM, SSL, gaussian, local_mean, standardised


def example(side=30, seed=0):
    torch.manual_seed(seed)
    y = torch.zeros(2, 1, side, side, dtype=torch.float64)
    y[0, 0, 8:15, 10:20] = 1
    return torch.randn_like(y) + 2 * y - 1, y


def test_a_window_as_narrow_as_can_be_is_one_pixel_and_a_window_without_width_is_refused():
    """exp(-d^2 / (2 sigma^2)) with sigma^2 below the smallest number was 0 / 0 in the middle: a loss of NaN."""
    x, y = example()
    torch.testing.assert_close(SSIM(sigma=1e-30, side=3)(x, y), SSIM(side=1)(x[..., 1:-1, 1:-1], y[..., 1:-1, 1:-1]))
    with pytest.raises(ValueError, match="sigma must lie above 0"):
        SSIM(sigma=0)


def test_ssim_equals_monais():
    from monai.losses import SSIMLoss

    x, y = example()
    p = torch.sigmoid(x)
    theirs = SSIMLoss(spatial_dims=2, win_size=11, kernel_sigma=1.5, reduction="none")
    expected = torch.stack([theirs(p[n : n + 1].float(), y[n : n + 1].float()).reshape(()) for n in range(2)])
    torch.testing.assert_close(SSIM(reduction="none")(x, y)[:, 0].float(), expected.float(), rtol=1e-4, atol=1e-5)


def test_ssim_of_the_truth_is_0():
    _, y = example()
    assert SSIM(from_logits=False)(y, y).item() == pytest.approx(0, abs=1e-12)


def slow_ssl(p, y, beta=0.1, c=0.01):
    """One image, pixel by pixel."""
    line = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def normal(x):
        wide = np.pad(x, 1, mode="edge")
        out = np.zeros_like(x)
        for r in range(x.shape[0]):
            for col in range(x.shape[1]):
                near = wide[r : r + 3, col : col + 3]
                mean = (window * near).sum()
                out[r, col] = (x[r, col] - mean + c) / (np.sqrt((window * (near - mean) ** 2).sum()) + c)
        return out

    error = np.abs(normal(y) - normal(p))
    hard = error > beta * error.max()
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return 0.5 * entropy.mean() + 0.5 * (error * entropy)[hard].sum() / hard.sum()


def test_ssl_pixel_by_pixel():
    x, y = example(12)
    found = SSL(reduction="none")(x, y)
    for n in range(2):
        assert found[n, 0].item() == pytest.approx(slow_ssl(torch.sigmoid(x[n, 0]).numpy(), y[n, 0].numpy()), rel=1e-6)


def test_ssl_with_all_weight_on_cross_entropy_is_cross_entropy():
    x, y = example()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(x, y)
    torch.testing.assert_close(SSL(weight=1.0)(x, y), expected)


def slow_rmi(p, y):
    """numpy, with explicit loops over the nine shifts."""

    def points(image):
        side = image.shape[0] // 3
        pooled = np.array(
            [[image[3 * r : 3 * r + 3, 3 * c : 3 * c + 3].max() for c in range(side)] for r in range(side)]
        )
        shifts = [pooled[i : side - 2 + i, j : side - 2 + j].ravel() for i in range(3) for j in range(3)]
        return np.stack([s - s.mean() for s in shifts])

    a, b = points(y), points(p)
    rest = a @ a.T - a @ b.T @ np.linalg.inv(b @ b.T + 5e-4 * np.eye(9)) @ b @ a.T
    return 0.5 * np.linalg.slogdet(rest + 5e-4 * np.eye(9))[1] / 9


def test_rmi_against_numpy():
    x, y = example(36)
    found = RMI(weight=0.0, reduction="none")(x, y)
    for n in range(2):
        assert found[n, 0].item() == pytest.approx(slow_rmi(torch.sigmoid(x[n, 0]).numpy(), y[n, 0].numpy()), rel=1e-5)


def test_rmi_falls_as_the_prediction_tells_more_of_the_truth():
    x, y = example(36)
    values = [RMI(weight=0.0)(gain * (2 * y - 1) + 0.1 * x, y).item() for gain in (0.0, 0.5, 4.0)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("loss", [SSIM(), SSL(), RMI()], ids=["ssim", "ssl", "rmi"])
def test_gradients_are_finite_and_reach_the_mass(loss):
    x, y = example()
    for start in (x, torch.full_like(x, -1e4), torch.full_like(x, 1e4)):
        leaf = start.clone().requires_grad_()
        value = loss(leaf, y)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()
    leaf = x.clone().requires_grad_()
    loss(leaf, y).backward()
    assert leaf.grad[y > 0].sum() < 0


def test_what_they_refuse():
    x, y = example()
    for loss in (SSIM(), SSL(), RMI()):
        with pytest.raises(ValueError, match="takes no mask"):
            loss(x, y, mask=torch.ones_like(y))
    with pytest.raises(ValueError, match="SSIM needs images of at least 11"):
        SSIM()(x[..., :10], y[..., :10])
    with pytest.raises(ValueError, match="RMI needs"):
        RMI()(x[..., :8], y[..., :8])
    with pytest.raises(ValueError, match="side must be an odd number"):
        SSIM(side=4)


def test_windows():
    line = gaussian(11, 1.5, torch.zeros(1, dtype=torch.float64))
    assert line.sum().item() == pytest.approx(1)
    assert (line == line.flip(0)).all()
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    torch.testing.assert_close(local_mean(point, line)[0, 0], torch.outer(line, line))
    assert torch.isfinite(standardised(torch.ones(1, 1, 5, 5))).all()
