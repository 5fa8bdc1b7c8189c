"""Studies made with `influence`, each beside its results; `kit` has what they share. No part of the package."""
