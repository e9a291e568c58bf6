"""How unlike two dataset versions are, measured on their pictures."""
