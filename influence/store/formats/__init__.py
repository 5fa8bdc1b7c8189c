"""Stored formats: each is one record, written and read by the same class; a field too many or too few is refused."""
