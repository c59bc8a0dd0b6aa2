"""The way from tensors to NumPy, which measures the truth; open within the transforms of `torch.func` too.

`torch.func.grad`, `jvp` and `hessian` wrap what they differentiate, and what is made of it. `vmap` over logits works
with all losses whose terms are tensors; what is looked at pixel by pixel has no values for one image alone.
"""

import numpy as np
import torch
from torch import Tensor


def array(x: Tensor) -> np.ndarray:
    """The values of `x`, which is not differentiated. TypeError within `vmap` over it."""
    if not torch._C._functorch.is_functorch_wrapped_tensor(x):
        return x.detach().cpu().numpy()
    refuse_mapped(**{"what this loss measures by image": x})
    return np.array(x.tolist())  # whatever else is done to it within such a transform wraps it again


def refuse_mapped(**values: Tensor | None) -> None:
    """Raise TypeError where `torch.func.vmap` runs over one of these values, however deep."""
    functorch = torch._C._functorch
    for name, value in values.items():
        while isinstance(value, Tensor) and functorch.is_functorch_wrapped_tensor(value):
            if functorch.is_batchedtensor(value):
                raise TypeError(
                    f"vmap cannot run over {name}, whose values have to be seen: call the loss with the whole batch "
                    "and reduction='none', which gives one value for each image and channel"
                )
            value = functorch.get_unwrapped(value)
