"""Segment a prepared grey image with an exported network: onnxruntime, numpy and pillow, no massmatch and no PyTorch.

    massmatch export RUN --to onnx --out network.onnx
    python examples/onnx_without_massmatch.py network.onnx COHORT/images/a.png mask.png

For research, not for diagnosis.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

network, source, out = sys.argv[1:]
session = onnxruntime.InferenceSession(network)
facts = json.loads(session.get_modelmeta().custom_metadata_map["massmatch"])  # size, threshold, preprocessing, ...
rows, cols = facts["size"]
image = Image.fromarray(np.asarray(Image.open(source), np.float32))  # 8 or 16 bits: each image is scaled by its levels
pixels = np.asarray(image.resize((cols, rows), Image.Resampling.BOX))
probability = session.run(["probability"], {"image": pixels[None, None]})[0][0, 0]
mask = Image.fromarray(np.uint8(255 * (probability > facts["threshold"])))
mask.resize(image.size, Image.Resampling.NEAREST).save(out)
print(f"{(probability > facts['threshold']).mean():.2%} of the image is predicted mass")
