"""Distilling System 2 into System 1 (arXiv 2407.06023): sample, filter, tune."""
