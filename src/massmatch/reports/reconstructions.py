"""Systems whose details could not be read anywhere (docs/systems.md): a result says nothing about their authors'."""

LOSSES = frozenset({"asp-q", "asp-c", "asp-l", "density-asp", "instance"})
MODELS = frozenset({"arfnet", "attention-dense-unet", "fc-densenet-ms", "dilated-unet++", "unext"})


def is_reconstruction(loss: str, model: str) -> bool:
    """Whether the loss (options behind it do not matter) or the network is one."""
    return loss.partition(":")[0] in LOSSES or model in MODELS
