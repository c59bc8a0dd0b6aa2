"""The losses on an NVIDIA GPU, in a minute: ratios to MONAI's DiceCELoss, no waiting for the GPU, a captured graph.

python benchmarks/gpu.py
"""

import torch
from monai.losses import DiceCELoss

from losses import BASE, PHASE, SOFT, VARIANTS, mammograms
from massmatch.losses import make_loss
from measuring import medians, ratios, table, take_turns

CHOSEN = ("sm-bce-b-a", "sm-bce-sd-nz", "sm-tversky-sd-nz", "sm-dice-sd-nz", SOFT, PHASE)


def steps_of(names: tuple[str, ...], images: int, side: int) -> dict:
    """One forward and backward pass of each loss on the GPU, which ends when the GPU has finished."""
    logits, target = mammograms(images, side)
    x, y = logits.detach().cuda().requires_grad_(), target.cuda()
    calls = {BASE: lambda: DiceCELoss(sigmoid=True)(x, y)}
    for name in names:
        loss = make_loss(name).cuda()
        facts = loss.facts(target)
        calls[name] = lambda loss=loss, facts=facts: loss(x, y, facts=facts)

    def step(call) -> None:
        x.grad = None
        call().backward()
        torch.cuda.synchronize()

    return {name: lambda call=call: step(call) for name, call in calls.items()}


def compare() -> None:
    """Print milliseconds and ratios at three batches."""
    for images in (4, 16, 64):
        times = take_turns(steps_of(CHOSEN, images, 256), 50, warm=5)
        found, over = medians(times), ratios(times, BASE)
        print(f"\n{images} x 1 x 256 x 256")
        print(table(("loss", "ms", f"/ {BASE}"), [(name, 1e3 * took, over[name]) for name, took in found.items()]))


def never_waits() -> None:
    """No operation of a step waits for the GPU. Raises RuntimeError at the first that does."""
    logits, target = mammograms(4, 256)
    x, y = logits.detach().cuda().requires_grad_(), target.cuda()
    for name in (*VARIANTS, SOFT, PHASE):
        loss = make_loss(name).cuda()
        facts = loss.facts(target)
        loss(x, y, facts=facts).backward()  # what is cached is made here
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss(x, y, facts=facts).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    print(f"\nno step of {len(VARIANTS) + 2} losses waits for the GPU")


def captured() -> None:
    """A training step in a CUDA graph: replayed, it gives the loss of the images that are in place by then."""
    logits, target = mammograms(4, 256)
    y = target.cuda()
    network = torch.nn.Conv2d(1, 1, 3, padding=1).cuda()
    images = logits.detach().cuda()
    for name in ("sm-tversky-sd-nz", SOFT):
        loss = make_loss(name).cuda()
        facts = [{k: v if k == "made_for" else v.cuda() for k, v in fact.items()} for fact in loss.facts(target)]
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                loss(network(images), y, facts=facts).backward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        network.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            value = loss(network(images), y, facts=facts)
            value.backward()
        images.mul_(0.5)
        graph.replay()
        torch.testing.assert_close(value, loss(network(images), y, facts=facts))
        images.mul_(2)
    print("a training step is captured in a CUDA graph and replayed")


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), torch.__version__)
    compare()
    never_waits()
    captured()
