"""What a loss or network of one's own keeps while it learns, where no checkpoint holds it or could give it back."""

import pickle
import warnings
from contextlib import suppress

from torch import Tensor, nn

from massmatch.errors import RunError
from massmatch.losses.own import AdaptedLoss, Called

_PYTORCHS = vars(nn.Module())  # the attributes that every module has


class Kept:
    """What `own`, which `text` names, keeps before an epoch, to be compared with what it keeps after it.

    `own` may be a loss or a network of one's own, or one of ours, which keeps nothing of the kind.
    """

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
        if changed := [attribute for attribute in self.plain if plain.get(attribute) != self.plain[attribute]]:
            warnings.warn(
                f"{self.text} changes {', '.join(changed)} while it learns, which no checkpoint holds: if its value "
                "depends on it, a run that is interrupted ends otherwise than one that is not; keep it as a buffer "
                "(register_buffer)",
                stacklevel=3,
            )


def shapes_of(own: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of parameters and buffers, by their names."""
    return {name: tuple(value.shape) for name, value in own.state_dict().items() if isinstance(value, Tensor)}


def plain_state(own: nn.Module) -> dict[str, bytes]:
    """What is kept outside of parameters and buffers, by the name of the attribute; those of the class count, too.

    What cannot be pickled is left out.
    """
    parts = [*own.modules(), *(each.function for each in own.modules() if isinstance(each, Called))]
    found = {}
    for part in (each for each in parts if not isinstance(each, (AdaptedLoss, Called))):
        for name, value in {**vars(type(part)), **getattr(part, "__dict__", {})}.items():
            if name not in _PYTORCHS and not name.startswith("__"):
                with suppress(Exception):  # whatever code of one's own answers
                    found[f"{type(part).__name__}.{name}"] = pickle.dumps(value)
    return found
