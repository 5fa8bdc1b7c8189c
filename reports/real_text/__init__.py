"""Influence on real text: `build` makes corpus and queries, `evaluate` ranks the gold paragraphs."""
