"""Where scenes come from: one reader or maker a file. Files are read as open binary objects."""
