"""Hugging Face causal language models: loading, tracked layers, capture, losses."""
