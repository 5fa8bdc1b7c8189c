"""Artefacts on disk: whole or absent, and each says what made it."""
