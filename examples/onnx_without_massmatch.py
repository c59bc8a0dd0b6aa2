"""Segment a grey image with an exported network: onnxruntime, numpy and pillow, no massmatch and no PyTorch.

    massmatch export RUN --to onnx --out network.onnx
    python examples/onnx_without_massmatch.py network.onnx COHORT/images/a.png mask.png

Its chest wall lies where the network has learnt it ("orientation" in the metadata). For research, not for diagnosis.
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
image = np.asarray(Image.open(source), np.float32)  # 8 or 16 bits: each image is scaled by its own levels
scale = 0 if facts["preprocessing"] else max(image.shape[0] / rows, image.shape[1] / cols)  # filled up, not stretched
filled = (max(image.shape[1], round(cols * scale)), max(image.shape[0], round(rows * scale)))  # width, height
frame = Image.new("F", filled, float(image.min()))
frame.paste(Image.fromarray(image))
pixels = np.asarray(frame.resize((cols, rows), Image.Resampling.BOX))
probability = session.run(["probability"], {"image": pixels[None, None]})[0][0, 0]
found = np.asarray(Image.fromarray(probability).resize(filled, Image.Resampling.BILINEAR))
mask = found[: image.shape[0], : image.shape[1]] > facts["threshold"]
Image.fromarray(np.uint8(255 * mask)).save(out)
print(f"{mask.mean():.2%} of the image is predicted mass")
