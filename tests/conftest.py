"""Modules in this folder (`tiny`, `stores`) can be imported by every test."""
