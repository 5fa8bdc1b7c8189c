"""Findings from stored scores: reads stores only, loads without torch."""
