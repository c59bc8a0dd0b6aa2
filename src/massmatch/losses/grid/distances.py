"""How far the cells of a grid lie from the nearest one with mass, for a whole batch in a step.

A loader measures it once for each image (`rule.py`); a step does where no facts are given, or the grid was moved.
"""

import numpy as np
import torch
from torch import Tensor

from ..arrays import array
from .geometry import distance_to_mass


def distances(true: Tensor, step: Tensor | None = None) -> Tensor:
    """(N, rows, columns): how far each cell lies from the nearest true one of its grid; 0 where there is none.

    `step` (N, axes) is the length of a step along each axis, 1 if not given. Where values can be read, SciPy measures,
    whose time grows with the cells alone; elsewhere `distances_beside` does, which waits for nobody.
    """
    if true.device.type != "cpu" or torch.compiler.is_compiling():
        return distances_beside(true, step)
    steps = [(1.0,) * (true.ndim - 1)] * len(true) if step is None else [tuple(row) for row in step.tolist()]
    grids = [distance_to_mass(grid, tuple(map(float, of))) for grid, of in zip(array(true), steps, strict=True)]
    return torch.from_numpy(np.stack(grids))


def distances_beside(true: Tensor, step: Tensor | None = None) -> Tensor:
    """The same by tensors alone. One axis after the other, squared distances are the least of those of all lines plus
    the way to them."""
    squares = torch.full(true.shape, torch.inf, device=true.device).masked_fill_(true, 0)
    for axis in range(1, true.ndim):
        places = torch.arange(true.shape[axis], dtype=torch.float32, device=true.device)
        ways = (places[:, None] - places).square()
        if step is not None:
            ways = ways * step[:, axis - 1, None, None].square()
            ways = ways.reshape(len(true), *(1,) * (true.ndim - 2), *ways.shape[1:])
        squares = (squares.movedim(axis, -1).unsqueeze(-2) + ways).amin(-1).movedim(-1, axis)
    return squares.sqrt().nan_to_num(posinf=0.0)
