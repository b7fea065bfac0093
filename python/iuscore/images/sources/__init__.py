"""Where images lie: one reader of each format: folders, archives, tables and arrays, for `fit` and for `score`."""
