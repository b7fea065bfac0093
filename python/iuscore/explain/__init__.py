"""Pictures of models and of scored sets, and what a set is worth beside real images."""
