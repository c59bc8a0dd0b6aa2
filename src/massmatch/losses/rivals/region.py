"""Rival losses that look at neighbourhoods: SSIM, structural similarity (SSL), region mutual information (RMI)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import ImageLoss
from ..call import Facts
from ..checks import require_number, require_whole

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def probabilities(logits: Tensor, from_logits: bool) -> Tensor:
    """The probabilities of mass, of the shape that is given, in (0, 1)."""
    return logits.sigmoid() if from_logits else logits


def pixel_entropy(logits: Tensor, target: Tensor, from_logits: bool) -> Tensor:
    """Cross-entropy of each pixel."""
    function = F.binary_cross_entropy_with_logits if from_logits else F.binary_cross_entropy
    return function(logits, target, reduction="none")


def gaussian(side: int, sigma: float, like: Tensor) -> Tensor:
    """A line of `side` weights that add up to 1: the window along each axis."""
    distance = torch.arange(side, dtype=like.dtype, device=like.device) - (side - 1) / 2
    line = (-((distance / sigma) ** 2) / 2).exp()
    return line / line.sum()


def local_mean(x: Tensor, line: Tensor) -> Tensor:
    """(B, C, *spatial) averaged with the window, where it fits wholly; axis by axis, since a Gaussian separates."""
    axes = x.ndim - 2
    found = x.flatten(0, 1)[:, None]
    for axis in range(axes):
        found = CONVOLUTIONS[axes](found, line.view(1, 1, *(len(line) if a == axis else 1 for a in range(axes))))
    return found.unflatten(0, x.shape[:2]).squeeze(2)


def refuse_mask(name: str, valid: Tensor | None) -> None:
    """A neighbourhood with a hole has no meaning here."""
    if valid is not None:
        raise ValueError(f"{name} looks at neighbourhoods and takes no mask; crop the images instead")


class SSIM(ImageLoss):
    """1 - SSIM(p, y) (Wang et al. 2004; in the loss of UNet 3+), the mean over windows that fit wholly.

    Windows of 11 pixels, Gaussian with sigma 1.5, K1 = 0.01 and K2 = 0.03: the paper's.

    Args:
        side: of the window, an odd number of pixels.
        sigma: standard deviation of the window, in pixels.
    """

    def __init__(
        self, *, side: int = 11, sigma: float | int = 1.5, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        if require_whole("side", side, 1) % 2 == 0:
            raise ValueError(f"side must be an odd number of pixels, but is {side!r}")
        require_number("sigma", sigma)
        if sigma == 0:
            raise ValueError("sigma must lie above 0; a window of one pixel is side=1")
        self.side, self.sigma = side, sigma

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C). ValueError for images smaller than the window, and for a mask."""
        refuse_mask("SSIM", valid)
        if min(logits.shape[2:]) < self.side:
            raise ValueError(f"SSIM needs images of at least {self.side} pixels, but has {tuple(logits.shape[2:])}")
        window = gaussian(self.side, self.sigma, logits)
        p = probabilities(logits, self.from_logits)
        mean_p, mean_y = local_mean(p, window), local_mean(target, window)
        var_p = local_mean(p * p, window) - mean_p**2
        var_y = local_mean(target * target, window) - mean_y**2
        cov = local_mean(p * target, window) - mean_p * mean_y
        c1, c2 = 0.01**2, 0.03**2
        above = (2 * mean_p * mean_y + c1) * (2 * cov + c2)
        below = (mean_p**2 + mean_y**2 + c1) * (var_p + var_y + c2)
        return 1 - (above / below).flatten(2).mean(-1)


class SSL(ImageLoss):
    """weight BCE + (1 - weight) SSL, the structural similarity loss (Zhao et al. 2019, arXiv:1910.08711).

    e = |(y - mean y + c) / (deviation y + c) - (p - mean p + c) / (deviation p + c)| measures how far a pixel's
    neighbourhood in p is from that in y; SSL is the mean of e times cross-entropy over the pixels with e above beta
    times the largest e. c = 0.01 and windows of 3 pixels with sigma 1.5 as in public code, beta = 0.1 the paper's.
    Ours: e carries no gradient, the border is repeated outwards, and weight = 0.5.

    Args:
        weight: weight of plain cross-entropy, and 1 - weight of the structural term.
        beta: a pixel counts whose structural error is above this share of the largest.
    """

    def __init__(
        self, *, weight: float | int = 0.5, beta: float | int = 0.1, reduction: str = "mean", from_logits: bool = True
    ) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        for name, value in (("weight", weight), ("beta", beta)):
            require_number(name, value)
            if value > 1:
                raise ValueError(f"{name} must be at most 1, but is {value!r}")
        self.weight, self.beta = weight, beta

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """The standardised truth of each image, (C, *spatial)."""
        del instances, density
        return [{"structure": each} for each in structures(target)]

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C). ValueError for a mask."""
        refuse_mask("SSL", valid)
        entropy = pixel_entropy(logits, target, self.from_logits)
        p = probabilities(logits, self.from_logits)
        structural = structural_loss(p, structure_of(target, facts), entropy, self.beta)
        return self.weight * entropy.flatten(2).mean(-1) + (1 - self.weight) * structural


def structural_loss(p: Tensor, structure: Tensor, entropy: Tensor, beta: float | int = 0.1) -> Tensor:
    """(B, C): SSL alone, from probabilities, the standardised truth, and the cross-entropy of each pixel."""
    p = p.detach()  # no_grad alone would leave the derivative that torch.func.jvp takes
    with torch.no_grad():
        error = standardised(p).sub_(structure).abs_()
        hard = error > beta * error.flatten(2).amax(-1)[(...,) + (None,) * (p.ndim - 2)]
        weight = error.mul_(hard) / hard.flatten(2).sum(-1).clamp(min=1)[(...,) + (None,) * (p.ndim - 2)]
    return (weight * entropy).flatten(2).sum(-1)


def standardised(x: Tensor, c: float | int = 0.01) -> Tensor:
    """(x - local mean + c) / (local deviation + c) over windows of 3 pixels, the border repeated outwards.

    Mean and variance are found axis by axis: along one axis the variance of three values is the sum of their weighted
    squared differences, and that of the window is the mean of the variances of its lines plus the variance of their
    means. Unlike mean(x^2) - mean(x)^2, this loses no digits in float32.
    """
    w, v, _ = WINDOW
    mean, variance = x, None
    for axis in range(2, x.ndim):
        before, after = neighbours(mean, axis)
        spread = (before - mean).square_().add_((mean - after).square_()).mul_(w * v)
        spread.add_((before - after).square_(), alpha=w * w)
        if variance is not None:  # each pixel has none: on the first axis there is nothing to average
            first, last = neighbours(variance, axis)
            spread.add_(first.add_(last), alpha=w).add_(variance, alpha=v)
        mean, variance = before.add_(after).mul_(w).add_(mean, alpha=v), spread
    assert variance is not None
    return (x - mean).add_(c).div_(variance.sqrt_().add_(c))


WINDOW = gaussian(3, 1.5, torch.zeros((), dtype=torch.float64)).tolist()  # of `standardised`, as in public code


def neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The pixel before and the pixel behind each, along an axis; at the border, the pixel itself."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    rest = x.shape[axis] - 1
    return torch.cat([first, x.narrow(axis, 0, rest)], axis), torch.cat([x.narrow(axis, 1, rest), last], axis)


def structures(target: Tensor) -> Tensor:
    """(B, C, *spatial): the standardised truth, which does not change in a training, for the facts."""
    return standardised(target.detach().to(torch.promote_types(target.dtype, torch.float32)))


def structure_of(target: Tensor, facts: Sequence[Facts] | None) -> Tensor:
    """The standardised truth of a batch, from the facts, or computed now. ValueError for facts of another loss."""
    if facts is None:
        return structures(target)
    if any("structure" not in fact or fact["structure"].shape != target.shape[1:] for fact in facts):
        raise ValueError(
            f"facts must hold 'structure' of {tuple(target.shape[1:])} of each image: use this loss's facts"
        )
    return torch.stack([fact["structure"] for fact in facts]).to(target)


class RMI(ImageLoss):
    """weight BCE + (1 - weight) RMI, region mutual information (Zhao et al. 2019, NeurIPS), for 2-D images.

    Each pixel is seen with its 3 x 3 neighbours as a point in 9 dimensions; RMI is half the log-determinant of what
    remains of the covariance of y when p is known, by Gaussian approximation, divided by 9:

        log det(S_y - S_yp (S_p + a I)^-1 S_yp' + a I) / 18

    after max-pooling by 3, with a = 5e-4 and weight = 0.5, all as published; covariances are sums, not means, as in the
    authors' code, whose `torch.cholesky` on CUDA doubles is `torch.linalg` here. May be negative.

    Args:
        weight: weight of cross-entropy, and 1 - weight of the mutual information.
    """

    SIDE, POOL, A = 3, 3, 5e-4

    def __init__(self, *, weight: float | int = 0.5, reduction: str = "mean", from_logits: bool = True) -> None:
        super().__init__(reduction=reduction, from_logits=from_logits)
        require_number("weight", weight)
        if weight > 1:
            raise ValueError(f"weight must be at most 1, but is {weight!r}")
        self.weight = weight

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C). ValueError for a mask, for anything but two spatial axes, and for images below 9 pixels."""
        refuse_mask("RMI", valid)
        if logits.ndim != 4 or min(logits.shape[2:]) < self.SIDE * self.POOL:
            raise ValueError(
                f"RMI needs (B, C, H, W) of at least {self.SIDE * self.POOL} pixels, but has {tuple(logits.shape)}"
            )
        entropy = pixel_entropy(logits, target, self.from_logits).flatten(2).mean(-1)
        p = probabilities(logits, self.from_logits)
        return self.weight * entropy + (1 - self.weight) * self.information(p, target).to(entropy.dtype)

    def information(self, p: Tensor, target: Tensor) -> Tensor:
        """(B, C) float64: the log-determinant over 18."""
        y, q = (self._points(F.max_pool2d(x, self.POOL, self.POOL).double()) for x in (target, p))
        unit = torch.eye(self.SIDE**2, dtype=torch.float64, device=p.device)
        known = torch.linalg.solve(q @ q.mT + self.A * unit, q @ y.mT)
        remaining = y @ y.mT - (y @ q.mT) @ known
        factor = torch.linalg.cholesky((remaining + remaining.mT) / 2 + self.A * unit)
        return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) / self.SIDE**2  # half of log det, twice the factor's

    def _points(self, x: Tensor) -> Tensor:
        """(B, C, 9, n) centred: every pixel with its neighbours, where they all exist."""
        points = x.unfold(2, self.SIDE, 1).unfold(3, self.SIDE, 1).flatten(-2).flatten(2, 3).mT
        return points - points.mean(-1, keepdim=True)
