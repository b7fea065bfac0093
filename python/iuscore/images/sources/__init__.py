"""Where images lie: one reader of each kind of folder, archive, table and array, for `fit` and for `score`."""
