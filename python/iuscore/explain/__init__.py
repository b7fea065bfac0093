"""Pictures of models and of scored sets."""
