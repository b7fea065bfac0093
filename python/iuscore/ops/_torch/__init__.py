"""The ops in plain PyTorch: the fallback on any device, an oracle for the kernels, and the differentiable path."""
