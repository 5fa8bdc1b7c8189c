"""An index of document sketches: building it and searching it."""
