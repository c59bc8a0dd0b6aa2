"""The trained network in this package, which `massmatch predict` uses by default."""

from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "weights" / "cbis_ddsm.safetensors"  # beside it: ATTRIBUTION.txt
ABOUT = (
    "the packaged network, trained on film scans (CBIS-DDSM) and not tried on digital mammograms; docs/model_card.md "
    "says what it finds and misses"
)
