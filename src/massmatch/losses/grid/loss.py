"""What losses over the cells of a grid share: their options and facts, and cores that are no sums."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import ImageLoss
from ..call import Facts, checked
from ..checks import accepts
from ..facts import outside_graphs
from .geometry import cell_axes, cut, overhangs
from .layout import Images, images_of
from .rule import GridRule


class GridLoss(ImageLoss):
    """A loss over the cells of each image's own grid."""

    reads_instances = True
    rule: GridRule  # how the grid follows from the truth
    by_distance: bool  # whether the loss needs the distance of each cell from the masses

    @property
    def cell_size(self) -> tuple[int, ...] | None:
        """The fixed sides of the cells in pixels, or None where they follow from the masses."""
        return self.rule.cell_size

    @property
    def cell_statistic(self) -> str:
        """Of the masses' heights and widths."""
        return self.rule.statistic

    @property
    def cell_rounding(self) -> str:
        """To the nearest power of two, or the next up or down."""
        return self.rule.rounding

    @property
    def min_cell(self) -> int:
        """The lower bound of the cell sides in pixels."""
        return self.rule.min_cell

    @property
    def distance_unit(self) -> str:
        """In which the distances of cells are measured."""
        return self.rule.distance_unit

    def make_facts(
        self, target: Tensor, *, instances: Tensor | None = None, density: Sequence[int | None] | None = None
    ) -> list[Facts]:
        """Cell size, true cells and distances of each image, so that the training step measures nothing.

        One dict per image: "cell_size" (C, axes), "true" (C, *grid) bool and, if the loss weighs by distance,
        "distance" (C, *grid), both filled with 0 up to the finest grid that the options allow. ValueError for true
        mass without an instance.
        """
        del density
        labels = [None] * len(target) if instances is None else instances
        return [self.rule.facts(image, of, self.by_distance) for image, of in zip(target, labels, strict=True)]

    def measured_now(self, target: Tensor, instances: Tensor | None) -> list[Facts] | None:
        """The facts of all images; None where the loss needs none, so that such a call stays one graph."""
        needed = self.rule.cell_size is None or self.by_distance
        return self.measured(target, instances) if needed else None

    @outside_graphs
    def measured(self, target: Tensor, instances: Tensor | None) -> list[Facts]:
        """The facts of all images, by NumPy and SciPy: a graph is broken here."""
        return self.make_facts(target, instances=instances)

    def one_image(self, logits: Tensor, target: Tensor, mask: Tensor | None, instances: Tensor | None) -> Images:
        """What `explain` needs of its one image. Raises ValueError for more than one image or channel."""
        logits, target, valid = checked(logits, target, mask, self.from_logits)
        if logits.shape[:2] != (1, 1):
            raise ValueError(f"explain takes one image of one channel, (1, 1, *spatial), not {tuple(logits.shape)}")
        if instances is not None and valid is not None:
            instances = torch.where(valid > 0, instances, 0)
        labels = None if instances is None else instances[0]
        facts = [self.rule.facts(target[0], labels, with_distance=True)]
        return images_of(logits, target, valid, facts, self.rule, self.by_distance)


def one_by_one(core: Callable[..., Tensor], images: Images, from_logits: bool) -> tuple[Tensor, Tensor]:
    """(N,) and (N, *grid): a core that is no sum over pixels, put to each image and its cells in turn."""
    dims = len(images.spatial)
    whole = call_core(core, images.logits, images.target, tuple(range(-dims, 0)), images.valid, from_logits)
    grids = []
    for n, cell in enumerate(images.sizes.expand(len(whole), -1).tolist()):
        x, y = images.logits[n : n + 1], images.target[n : n + 1]
        v = valid_pixels(y, None if images.valid is None else images.valid[n : n + 1], tuple(cell))
        cells = call_core(core, cut(x, tuple(cell)), cut(y, tuple(cell)), cell_axes(dims), v, from_logits)
        missing = [most - side for most, side in zip(images.layout.shape, cells.shape[1:], strict=True)]
        grids.append(F.pad(cells, [n for more in reversed(missing) for n in (0, more)]))
    return whole, torch.cat(grids)


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
