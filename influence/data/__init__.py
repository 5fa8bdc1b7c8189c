"""Queries, corpora, tokens."""
