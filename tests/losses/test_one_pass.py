"""The pixels of a batch are visited once: what a step costs does not grow with the images or their sizes of cells."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import massmatch
from algorithm_1 import VARIANTS
from drawing import made_up
from massmatch.losses import LOSSES, SoftMatchingLoss, SpatialMatchingLoss


class Operations(TorchDispatchMode):
    """Counts the operations that PyTorch carries out, without those that only look at a tensor in another way."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not operation.is_view
        return operation(*args, **(kwargs or {}))


def batch(images):
    """Images of nine sizes of cells; the second has no mass."""
    target = torch.zeros(images, 1, 64, 64)
    for n, image in enumerate(target):
        if n != 1:
            image[0, 10 : 10 + 4 * 2 ** (n % 3), 20 : 20 + 4 * 2 ** (n // 3 % 3)] = 1
    return torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).requires_grad_(), target


def operations(loss, images):
    logits, target = batch(images)
    facts = loss.facts(target)
    with Operations() as seen:
        loss(logits, target, facts=facts).backward()
    return seen.count


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_takes_at_most_a_hundred_operations_at_every_batch(name):
    loss = LOSSES[name]()
    counts = [operations(loss, images) for images in (1, 2, 4, 16, 64)]
    assert max(counts) <= 100
    assert len(set(counts[1:])) == 1


@pytest.mark.parametrize("random_phase", [False, True])
def test_a_step_of_the_soft_loss_takes_at_most_140_operations_at_every_batch(random_phase):
    loss = SoftMatchingLoss(random_phase=random_phase)
    assert max(operations(loss, images) for images in (1, 2, 4, 16, 64)) <= 140


@pytest.mark.parametrize(
    "loss", [LOSSES["sm-tversky-sd-nz"](), LOSSES["sm-bce-d-a"](), SoftMatchingLoss(levels=2)], ids=str
)
def test_images_of_unlike_cells_cost_together_what_they_cost_alone(loss):
    logits, target = batch(9)
    alone = torch.stack([loss(x[None], y[None]) for x, y in zip(logits, target, strict=True)])
    torch.testing.assert_close(loss(logits, target), alone.mean())


@pytest.mark.parametrize(
    ("name", "most"), [("sm-bce-sd-nz", 8), ("sm-tversky-sd-nz", 8), ("sm-dice-sd-nz", 8), ("soft-sm", 8)]
)
def test_few_bytes_a_pixel_are_kept_for_the_gradient(name, most):
    logits, target = batch(4)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    loss = LOSSES[name]()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(logits, target, facts=loss.facts(target))
    of_pixels = [size for size in kept.values() if size >= logits.numel() * 4]
    assert sum(of_pixels) <= most * logits.numel()


def test_facts_of_another_truth_are_refused():
    logits, target = made_up(1, (3, 1, 16, 16))
    for loss in (SpatialMatchingLoss(distance=True), SoftMatchingLoss(), LOSSES["boundary"]()):
        facts = loss.facts(target)
        with pytest.raises(ValueError, match=r"facts\[\d\] was made of another truth than target\[\d\]"):
            loss(logits, target, facts=facts[::-1])
        with pytest.raises(ValueError, match="make the facts after any augmentation"):
            loss(logits, target.flip(-1), facts=facts)


def test_the_loader_of_pytorch_puts_facts_together():
    logits, target = made_up(2, (3, 2, 16, 24))
    without_facts = (LOSSES["bce"](), LOSSES["hybrid"]())  # theirs are empty, and together one empty dict
    for loss in (SpatialMatchingLoss(distance=True), SoftMatchingLoss(), LOSSES["cc-dice-bce"](), *without_facts):
        together = torch.utils.data.default_collate([loss.facts(image[None])[0] for image in target])
        assert torch.equal(loss(logits, target, facts=together), loss(logits, target))


@pytest.mark.parametrize("name", [*VARIANTS, "soft-sm", "bce", "dice", "hybrid", "boundary"])
@pytest.mark.parametrize("behind", [torch.nan, torch.inf, -torch.inf])
def test_not_even_what_is_no_number_has_an_influence_behind_the_mask(name, behind):
    logits, target = made_up(3, (2, 1, 16, 16))
    mask = torch.ones_like(target)
    mask[..., 9:] = 0
    loss = LOSSES[name]()
    found, gradients = [], []
    for x, y in (
        (logits, target),
        (logits.where(mask > 0, behind), target.where(mask > 0, 255 if behind > 0 else behind)),
    ):
        x = x.clone().requires_grad_()
        value = loss(x, y, mask=mask)
        value.backward()
        found.append(value.detach())
        gradients.append(x.grad)
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)
    assert (gradients[1][..., 9:] == 0).all()


@pytest.mark.parametrize("name", ["sm-bce-sd-nz", "soft-sm"])
def test_logits_become_a_value_in_at_most_5_files_and_30_calls_of_ours(name):
    logits, target = batch(2)
    loss, root = LOSSES[name](), str(Path(massmatch.__file__).parent)
    facts, calls = loss.facts(target), []
    loss(logits, target, facts=facts)  # the first one makes what later ones keep

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root) and not code.co_name.startswith("<"):
            calls.append((code.co_filename, code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        loss(logits, target, facts=facts)
    finally:
        sys.setprofile(before)
    assert calls[0][1].endswith(".forward")
    assert len(calls) <= 30, calls
    assert len({file for file, _ in calls}) <= 5, calls
