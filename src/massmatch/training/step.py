"""One step of the training, which ends at the first number that is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from massmatch.errors import RunError
from massmatch.losses import ImageLoss
from massmatch.training.adversary import Adversary
from massmatch.training.batches import Batch
from massmatch.training.distributed.collectives import averaged, let_count

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SMALLEST_SCALE, PATIENCE = 1.0, 20  # a float16 run whose gradients still overflow unscaled, for so many steps

NOTHING_LEARNED = (
    "the loss has no gradient by the network's weights, so nothing can be learned: it must be computed from the logits "
    "by PyTorch, without detach, NumPy, rounding or comparison in between"
)


class Step:
    """One step of a training, called with a batch: network, loss, optimiser and what else changes while it learns."""

    def __init__(
        self,
        fabric: "Fabric",
        network: Any,  # as Fabric wraps it
        loss: ImageLoss,
        optimizer: Any,
        schedule: LRScheduler | None,
        adversary: Adversary | None,
        layout: torch.memory_format,
        average: AveragedModel | None = None,
        clip: float = 0.0,
    ) -> None:
        self.fabric, self.network, self.loss, self.optimizer = fabric, network, loss, optimizer
        self.schedule, self.adversary, self.layout = schedule, adversary, layout
        self.average, self.clip = average, clip
        self.learned = [p for p in loss.parameters() if p.requires_grad]
        self.skipped = 0  # steps of this epoch whose gradient overflowed in float16
        self.moved = False  # whether any gradient by the network's weights has been another number than 0
        self.hopeless = 0  # steps in a row with a scale below SMALLEST_SCALE

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The scaler that keeps small gradients of float16 from becoming 0; None in other number formats."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def __call__(self, batch: Batch, epoch: int) -> float:
        """Learn from a batch and return its loss before the step.

        Raises RunError, before anything is learned, with the images and with what is not finite: the
        network's output (and from which layer on), the loss, or the gradient. MemoryError, with what to do, where the
        device has too little for the batch.
        """
        with enough_memory(batch, self.fabric.device):
            return self.learn(batch, f"in epoch {epoch + 1} on the images {batch.ids}")

    def learn(self, batch: Batch, where: str) -> float:
        """The step itself, without advice about memory."""
        if self.fabric.world_size > 1:
            let_count(self.network, batch.weight > 0)
        images = self.fabric.to_device(batch.images.to(memory_format=self.layout))
        target = self.fabric.to_device(batch.target)
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.network(images)
        if not torch.isfinite(main_output(outputs)).all():
            raise RunError(f"the network's output is not finite {where}{self.culprit(images)}")
        value = over_outputs(self.loss, outputs, target, batch.facts)
        if not value.requires_grad:
            raise RunError(NOTHING_LEARNED)
        if self.adversary is not None:
            value = value + self.adversary.penalty(images, main_output(outputs))
        if not torch.isfinite(value):
            raise RunError(f"the loss is {value.item()} {where}")
        self.fabric.backward(value * batch.weight)
        if all(p.grad is None for p in self.network.parameters()):
            raise RunError(NOTHING_LEARNED)
        self.moved = self.moved or any(p.grad is not None and bool(p.grad.any()) for p in self.network.parameters())
        averaged(self.fabric, self.learned)
        self.move(where)
        if self.adversary is not None:
            self.adversary.learn(self.fabric, images, main_output(outputs), target, batch.weight)
        return float(value.item())

    def move(self, where: str) -> None:
        """Change the weights by their gradient; skip the step where float16 overflowed."""
        self.fabric.strategy.precision.unscale_gradients(getattr(self.optimizer, "optimizer", self.optimizer))
        finite = self.gradient_is_finite()
        if not finite and self.scaler is None:
            raise RunError(f"the gradient of {self.first_bad_gradient()} is not finite {where}")
        if finite and self.clip:  # not Fabric's, which would unscale once more
            nn.utils.clip_grad_norm_([*self.network.parameters(), *self.learned], self.clip)
        self.optimizer.step()  # which the scaler leaves out itself
        self.skipped += not finite
        if finite and self.average is not None:
            self.average.update_parameters(self.network.module)
        if self.schedule is not None and finite:
            self.schedule.step()
        if self.scaler is not None:
            self.hopeless = self.hopeless + 1 if self.scaler.get_scale() < SMALLEST_SCALE else 0
            if self.hopeless >= PATIENCE:
                raise RunError(
                    f"float16 overflows even where the loss is scaled by {self.scaler.get_scale():g}, for {PATIENCE} "
                    f"steps, the last {where}: take --precision bfloat16 or float32"
                )

    def gradient_is_finite(self) -> bool:
        """Whether the gradient of every weight is finite."""
        gradients = [p.grad for p in (*self.network.parameters(), *self.learned) if p.grad is not None]
        return bool(torch.isfinite(nn.utils.get_total_norm(gradients, norm_type=torch.inf)))

    def first_bad_gradient(self) -> str:
        """The name of the first weight whose gradient is not finite."""
        named = ((n, p.grad) for module in (self.network.module, self.loss) for n, p in module.named_parameters())
        return next(name for name, gradient in named if gradient is not None and not torch.isfinite(gradient).all())

    def culprit(self, images: Tensor) -> str:
        """The first layer whose output is not finite, found by running the network again; "" among several processes.

        There, layers that share statistics would wait for processes whose images are sound.
        """
        if self.fabric.world_size > 1:
            return ""
        with watched(self.network.module) as found, torch.no_grad():
            self.network(images)
        return f": the first layer is {found[0]}" if found else ""


@contextmanager
def enough_memory(batch: Batch, device: torch.device) -> Iterator[None]:
    """Raise MemoryError with advice where memory runs out. Nothing is made smaller in silence: that is another run."""
    try:
        yield
    except RuntimeError as error:  # of which torch.OutOfMemoryError is one; on the CPU, PyTorch only says so
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        size = "x".join(str(side) for side in batch.images.shape[-2:])
        raise RunError(
            f"{device} has too little memory for a batch of {len(batch.ids)} images of {size}: take a smaller "
            "--batch-size or --width, --precision bfloat16, or prepare the cohort with a smaller --size (each is an "
            "experiment of its own); or share the batch among --devices"
        ) from error


@contextmanager
def watched(network: nn.Module) -> Iterator[list[str]]:
    """The names of the layers whose outputs are not finite, in the order in which they ran."""
    found: list[str] = []

    def hook(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(f"{name} ({type(module).__name__})")

        return look

    hooks = [m.register_forward_hook(hook(n)) for n, m in network.named_modules() if not list(m.children())]
    try:
        yield found
    finally:
        for each in hooks:
            each.remove()


def main_output(outputs: Tensor | list[Tensor]) -> Tensor:
    """The output that is the segmentation: the first one of a network that gives several."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def over_outputs(
    loss: ImageLoss, outputs: Tensor | list[Tensor], target: Tensor, facts: list[dict[str, Tensor]]
) -> Tensor:
    """The loss of a network's output, or its mean over the outputs of a network with deep supervision."""
    logits = [outputs] if isinstance(outputs, Tensor) else outputs
    return torch.stack([loss(each.contiguous(), target, facts=facts) for each in logits]).mean()
