"""Curvature as pure tensor maths: no model, no I/O."""
