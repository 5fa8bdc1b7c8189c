"""Hugging Face causal language models: loading, tracked layers, capture, losses."""

import os

# Read when transformers is imported: with the package kernels installed it would fetch compiled code for some models.
os.environ.setdefault("USE_HUB_KERNELS", "0")
