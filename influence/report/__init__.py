"""Self-contained HTML reports of stored scores: loads without torch."""
