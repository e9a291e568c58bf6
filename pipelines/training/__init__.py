"""The training step: order of samples, loader, loop, checkpoints, and the Ray Train driver."""
