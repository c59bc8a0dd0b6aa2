"""What losses over the cells of a grid share: from a batch to images of one grid, facts, pixels, cores of others."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import Facts, ImageLoss, accepts, check_shape, check_unit_interval, checked
from .facts import GridRule, Truth, hidden, hides_mass, stacked
from .geometry import cut, overhangs


class SameGrid(NamedTuple):
    """Images whose grids have the same cells; what nobody has measured is None."""

    logits: Tensor  # (N, *spatial)
    target: Tensor  # (N, *spatial)
    valid: Tensor | None  # (N, *spatial), 1 for the pixels that count; None for all of them
    cell: tuple[int, ...]  # sides in pixels
    true: Tensor | None = None  # (N, *grid) bool, cells with true mass
    distance: Tensor | None = None  # (N, *grid), from the nearest of them


class GridLoss(ImageLoss):
    """A loss over the cells of each image's own grid. A subclass says what images cost (`of_grids`)."""

    rule: GridRule  # how the grid follows from the truth
    by_distance: bool  # whether the loss needs the distance of each cell from the masses

    @abstractmethod
    def of_grids(self, groups: Sequence[SameGrid]) -> Tensor:
        """(N,): the loss of every image, one group after the other."""

    def per_image(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None,
        instances: Tensor | None,
        facts: Sequence[Facts] | None,
    ) -> Tensor:
        """(B, C): the loss of each image and channel."""
        truths = self._truths(target, valid, instances, facts)
        x, y, v = logits.flatten(0, 1), target.flatten(0, 1), None if valid is None else valid.flatten(0, 1)
        if self.together(truths):  # their cells line up: all images at once
            groups = [SameGrid(x, y, v, truths[0].cell_size, *stacked(truths, x.device))]
        else:
            valids = [None] * len(truths) if v is None else v.split(1)
            groups = [
                SameGrid(x_i, y_i, v_i, truth.cell_size, *stacked([truth], x.device))
                for x_i, y_i, v_i, truth in zip(x.split(1), y.split(1), valids, truths, strict=True)
            ]
        return self.of_grids(groups).reshape(logits.shape[:2])

    def together(self, truths: Sequence[Truth]) -> bool:
        """Whether these images can be handled at once."""
        return len({truth.cell_size for truth in truths}) == 1

    def facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """Cell size, true cells and distances of each image, so that the training step measures nothing.

        Args:
            target: (B, C, *spatial), the truth after any augmentation; on the CPU, in the loader.
            instances: see `forward`.
            density: not used by this loss.

        Returns:
            One dict per image: "cell_size" (C, axes), "true" (C, *grid) bool and, if the loss weighs by
            distance, "distance" (C, *grid), both filled with 0 up to the largest grid of the channels;
            "size" (axes,) and "options" let `forward` refuse the facts of another image or loss.

        Raises:
            ValueError: a target that `forward` would refuse too, or true mass without an instance.
        """
        del density
        if not 3 <= target.ndim <= 5:
            raise ValueError(f"target must have the shape (B, C, *spatial), but has {tuple(target.shape)}")
        check_unit_interval("target", target)
        if instances is not None:
            check_shape("instances", instances, target.shape)
        labels = [None] * len(target) if instances is None else instances
        return [self.rule.facts(image, of, self.by_distance) for image, of in zip(target, labels, strict=True)]

    def one_image(self, logits: Tensor, target: Tensor, mask: Tensor | None, instances: Tensor | None) -> SameGrid:
        """What `explain` needs of its one image. Raises ValueError for more than one image or channel."""
        logits, target, valid = checked(logits, target, mask, self.from_logits)
        if logits.shape[:2] != (1, 1):
            raise ValueError(f"explain takes one image of one channel, (1, 1, *spatial), not {tuple(logits.shape)}")
        mass, labels = hidden(target, instances, valid)
        truth = self.rule.measure(mass[0, 0], None if labels is None else labels[0, 0], with_distance=True)
        valid = None if valid is None else valid[0]
        return SameGrid(logits[0], target[0], valid, truth.cell_size, *stacked([truth], logits.device))

    def _truths(
        self, target: Tensor, valid: Tensor | None, instances: Tensor | None, facts: Sequence[Facts] | None
    ) -> list[Truth]:
        """One entry per image and channel, from the facts or else by measuring."""
        images, spatial = target.shape[0] * target.shape[1], tuple(target.shape[2:])
        if self.rule.cell_size is not None and not self.by_distance and facts is None:
            return [Truth(self.rule.fixed(len(spatial)), None, None)] * images  # nothing to measure
        if facts is None or (valid is not None and hides_mass(target, valid)):
            facts = self._facts_behind_mask(target, instances, valid)
        if not torch.compiler.is_compiling():
            for i, fact in enumerate(facts):
                self.rule.check(fact, f"facts[{i}]", tuple(target.shape[1:]), self.by_distance)
        channels = range(target.shape[1])
        return [self.rule.recall(fact, channel, spatial, self.by_distance) for fact in facts for channel in channels]

    @torch.compiler.disable
    def _facts_behind_mask(self, target: Tensor, instances: Tensor | None, valid: Tensor | None) -> list[Facts]:
        """The facts of the masses inside the mask; NumPy and SciPy, so a graph is broken here."""
        mass, labels = hidden(target, instances, valid)
        return self.facts(mass, instances=labels)


def joined(groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The tensors of several groups of images, (N,) or (N, *grid) each, one group after the other.

    Grids are filled up with 0 to the largest: cells without a pixel, which a loss must not count. So what is done to
    cells is done once for all images, which costs no more than for one of them.
    """
    return list(groups[0]) if len(groups) == 1 else [torch.cat(filled_up(each)) for each in zip(*groups, strict=True)]


def filled_up(grids: Sequence[Tensor]) -> list[Tensor]:
    """(N, *grid) each, all with the largest grid."""
    largest = [max(sides) for sides in zip(*(grid.shape[1:] for grid in grids), strict=True)]
    missing = [[n - side for n, side in zip(largest, grid.shape[1:], strict=True)] for grid in grids]
    return [
        F.pad(grid, [n for more in reversed(sides) for n in (0, more)]) if any(sides) else grid
        for grid, sides in zip(grids, missing, strict=True)
    ]


def call_core(
    core: Callable[..., Tensor],
    logits: Tensor,
    target: Tensor,
    axes: tuple[int, ...],
    valid: Tensor | None,
    from_logits: bool,
) -> Tensor:
    """A core of somebody else's: given what it takes, refused where it cannot take what is needed."""
    name = getattr(core, "__name__", type(core).__name__)
    extra: dict[str, Any] = {}
    if valid is not None:
        extra["valid"] = valid.expand_as(logits)
    if not from_logits:
        extra["from_logits"] = False
    for argument in extra:
        if not accepts(core, argument):
            raise ValueError(
                f"core {name} takes no argument {argument!r}, which is needed for a mask or cells that overhang "
                "the image (valid) or for from_logits=False (from_logits): add it, or avoid both"
            )
    loss = core(logits, target, axes=axes, **extra)
    expected = tuple(side for axis, side in enumerate(logits.shape, -logits.ndim) if axis not in axes)
    if loss.shape != expected:
        raise ValueError(
            f"core {name} must reduce the axes {axes} of {tuple(logits.shape)} and keep the others, {expected}, "
            f"but returned {tuple(loss.shape)}"
        )
    return loss


def valid_pixels(target: Tensor, valid: Tensor | None, cell: tuple[int, ...]) -> Tensor | None:
    """1 for the pixels of the cut image that count, or None where all of them do."""
    if valid is None and not overhangs(tuple(target.shape[1:]), cell):
        return None
    return cut(torch.ones_like(target[:1]) if valid is None else valid, cell)


def per_image(cells: Tensor, reduce: Callable[..., Tensor], dims: int) -> Tensor:
    """(N, *grid) reduced to one value per image, with the grid's axes kept as 1."""
    return reduce(cells.flatten(1), 1).reshape(-1, *(1,) * dims)
