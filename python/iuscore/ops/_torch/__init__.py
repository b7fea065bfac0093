"""The ops in plain PyTorch: the fallback on any device, the oracle of the kernels, and the differentiable path."""
