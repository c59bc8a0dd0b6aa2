"""What processes that train one network together exchange. Alone, all of it is nothing.

A step learns from the same batch, and a layer normalises by the statistics of the same batch, however many processes
share it: so the number of processes changes the speed, and results only by the order in which floats are added.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

from massmatch.errors import RunError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def averaged(fabric: "Fabric", parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of parameters that no DistributedDataParallel looks after by their means over the
    processes.
    """
    if fabric.world_size > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= fabric.world_size


def summed(fabric: "Fabric", values: Iterable[float]) -> list[float]:
    """The sums of numbers over all processes, exact up to 2^53."""
    if fabric.world_size == 1:
        return list(values)
    own = torch.tensor(list(values), dtype=torch.float64)
    own = own.to(fabric.device)
    torch.distributed.all_reduce(own)
    return own.tolist()


def gathered(fabric: "Fabric", own: T) -> list[T]:
    """What each process hands in, as a list in the order of the ranks."""
    if fabric.world_size == 1:
        return [own]
    all_: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(all_, own)
    return all_


class _Added(torch.autograd.Function):
    """A tensor added up over the processes; each then has a part in every other's gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Added.forward(ctx, gradient.contiguous())


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the statistics of the whole batch, in (B, C, *spatial).

    As torch.nn.SyncBatchNorm, which needs a GPU; here also on the CPU, with parts of different sizes, and stand-ins:
    while `counts` is False, the images of this process enter no statistics.
    """

    counts = True

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of spatial axes, where PyTorch's own classes take one number each."""

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of the same shape and type."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        axes = [0, *range(2, x.ndim)]
        one_each = (1, -1, *[1] * (x.ndim - 2))
        own = float(self.counts)
        total = _Added.apply(torch.cat([x.sum(axes), x.new_tensor([x.numel() / x.shape[1]])]) * own)
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = x - mean.view(one_each)
        variance = _Added.apply(centred.square().sum(axes) * own) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        shift = 0 if self.bias is None else self.bias.view(one_each)
        return (centred * scale.view(one_each) + shift).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch.nn.BatchNorm2d does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


SHARED: dict[type[nn.Module], type[Any]] = {
    kind: type(f"Shared{kind.__name__}", (SharedBatchNorm, kind), {})
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
}
SHARES = (SharedBatchNorm, nn.SyncBatchNorm)  # what shares its statistics already


def share_statistics(module: nn.Module) -> nn.Module:
    """The same module, with SharedBatchNorm in place of every batch normalisation; weights stay the same tensors.

    Each stays one of its class, by which people know the layers that they freeze, and a layer under two names one
    layer. Raises RunError for a class of one's own, which may do more than PyTorch's.
    """
    shared: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in [*parent._modules.items()]:
            if child is not None and type(child) in SHARED:
                setattr(parent, name, shared.setdefault(child, _shared(child)))
            elif isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SHARES):
                raise RunError(
                    f"{type(child).__name__} of {type(parent).__name__} is a batch normalisation of its own, whose "
                    "statistics several processes cannot share: train on one device"
                )
    return module


def _shared(child: Any) -> nn.Module:
    """The layer that shares its statistics, with the tensors of this one."""
    layer = SHARED[type(child)](child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
    layer._parameters, layer._buffers = child._parameters, child._buffers
    layer.train(child.training)
    return layer


def let_count(module: nn.Module, counts: bool) -> None:
    """Whether the next images of this process enter the shared statistics."""
    for child in module.modules():
        if isinstance(child, SharedBatchNorm):
            child.counts = counts
