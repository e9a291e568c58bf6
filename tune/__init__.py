"""Searches over the training step with Ray Tune."""
