"""What a loss or network of one's own keeps while it learns, where no checkpoint holds it or could give it back."""

import pickle
import warnings
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from massmatch.errors import RunError
from massmatch.losses.own import AdaptedLoss, Called

_PYTORCHS = vars(nn.Module())  # the attributes that every module has


class Kept:
    """What a loss or network of one's own, which `text` names, keeps before an epoch, to compare it after that."""

    def __init__(self, text: str, own: nn.Module) -> None:
        self.text, self.own = text, own
        self.plain, self.shapes = plain_state(own), shapes_of(own)

    def compare(self) -> None:
        """Warn of attributes that have changed, which no checkpoint holds.

        Raises RunError for buffers and parameters that were made meanwhile, or have another size: a new loss or
        network, which a training goes on with, has no place for them.
        """
        now = shapes_of(self.own)
        if others := sorted(name for name in {*self.shapes, *now} if self.shapes.get(name) != now.get(name)):
            raise RunError(
                f"{self.text} makes {others[0]}, or changes its size, while it learns, so that no training could go on "
                "from a checkpoint: make it in the constructor, in its final size"
            )
        plain = plain_state(self.own)
        if changed := [each for each in self.plain if each in plain and plain[each] != self.plain[each]]:
            names = dict.fromkeys(name for _, name in changed)
            warnings.warn(
                f"{self.text} changes {', '.join(names)} while it learns, which no checkpoint holds: if its value "
                "depends on it, a run that is interrupted ends otherwise than one that is not; keep it as a buffer "
                "(register_buffer)",
                stacklevel=3,
            )


def shapes_of(own: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of parameters and buffers, by their names."""
    return {name: tuple(value.shape) for name, value in own.state_dict().items() if isinstance(value, Tensor)}


def plain_state(own: nn.Module) -> dict[tuple[int, str], bytes]:
    """What is kept outside of parameters and buffers, by the number of the part and the name of the attribute.

    Attributes of its class count, too. What cannot be pickled is left out, and so are weights and what was computed
    from them in the last step, as skip connections and norms of weights keep it.
    """
    parts = [*own.modules(), *(each.function for each in own.modules() if isinstance(each, Called))]
    found = {}
    for number, part in enumerate(each for each in parts if not isinstance(each, (AdaptedLoss, Called))):
        kinds = [
            kind for kind in reversed(type(part).__mro__) if not kind.__module__.startswith(("torch.", "builtins"))
        ]
        values = {name: value for kind in kinds for name, value in vars(kind).items()}
        for name, value in {**values, **getattr(part, "__dict__", {})}.items():
            if name not in _PYTORCHS and not name.startswith("__") and not _is_of_a_step(value):
                with suppress(Exception):  # whatever code of one's own answers
                    found[number, f"{type(part).__name__}.{name}"] = pickle.dumps(value)
    return found


def _is_of_a_step(value: Any) -> bool:
    """Whether a value is, or holds, a weight or what was computed from one."""
    each = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(one, Tensor) and one.requires_grad for one in each)
