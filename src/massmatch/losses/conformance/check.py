"""A conformance kit: what every loss should survive, put to any loss, ours or another library's.

    results = check(lambda **options: MyLoss(**options))

A loss is anything with `loss(logits, target) -> scalar` on (B, 1, H, W), plain functions too (`lambda: function`);
losses of this package get their facts.
Each probe (`probes.py`) says "pass" or "fail" with a few words, and never raises. The probes were chosen after
what they found in mature libraries: no gradient on images without mass, float16 sums that overflow, graphs that break.
"""

import inspect
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..base import ImageLoss
from ..own import Called, in_one_line, tell_epoch
from .probes import PROBES
from .trial import Failed, Make, images


@dataclass(frozen=True)
class Result:
    """What one probe found about a loss."""

    probe: str
    status: str  # pass or fail
    detail: str


def check(make: Make, probes: Iterable[str] = PROBES) -> list[Result]:
    """Put a loss through the probes.

    Args:
        make: `make(**options)` builds the loss, a module or any other callable of (logits, target); it is asked for
            `reduction="none"` at most. A class will do. A loss that wants probabilities: wrap it in `Called`, or
            `lambda: Called(my_loss, probabilities=True)`.
        probes: names of `PROBES`; all of them by default.

    Returns:
        A result for each probe. A loss that cannot be built passes none, with the reason.

    Example:
        check(lambda: my_loss_function)
    """
    try:
        make()
    except (Exception, SystemExit) as error:
        return [Result(name, "fail", f"cannot be built: {in_one_line(error)}") for name in probes]
    return [_result(name, make) for name in probes]


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing on the screen: the compiler prints whole graphs where it gives up, and libraries warn."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)


def _result(name: str, make: Make) -> Result:
    with torch.random.fork_rng(), hushed():
        try:
            return Result(name, "pass", PROBES[name](fitted(make)))
        except Failed as finding:
            return Result(name, "fail", str(finding))
        except (Exception, SystemExit) as error:
            return Result(name, "fail", in_one_line(error)[:100])


def fitted(make: Make) -> Make:
    """The factory, with losses that learn from a training part fitted to a small one, in evaluation mode and epoch 1.

    What a loss draws at random in training (a grid's phase) would make no two values equal.
    """

    def ready(**options: Any) -> nn.Module:
        loss = make(**options)
        loss = loss if isinstance(loss, nn.Module) else Called(loss)
        if isinstance(loss, ImageLoss):
            _, targets = images(8, seed=1)
            loss.fit(targets, [1, 2, 3, 4] * 2)
        tell_epoch(loss, 1, 4)
        return loss.eval()

    ready.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    return ready
