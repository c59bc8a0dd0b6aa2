"""ONNX: a network's program as a file, and the file as onnxruntime reads it."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from massmatch.errors import UsageError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "image", "probability"


def require() -> None:
    """UsageError that names the first package that is missing."""
    if absent := [package for package in PACKAGES if find_spec(package) is None]:
        raise UsageError(f"--to onnx needs {absent[0]}, which is not installed: pip install 'massmatch[onnx]'")


def written(program: torch.export.ExportedProgram, key: str, metadata: str) -> bytes:
    """The bytes of the ONNX file of a program of one input and one output, with a line of metadata."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages of which nothing is wanted
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        made = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    assert made is not None
    made.model.metadata_props[key] = metadata
    return bytes(made.model_proto.SerializeToString())


def runner(data: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """What onnxruntime on the CPU answers to the input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda image: np.asarray(session.run([OUTPUT], {INPUT: image})[0])
