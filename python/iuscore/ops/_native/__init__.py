"""The compiled kernels as torch custom ops, so that torch.compile, CUDA graphs and opcheck know them.

Each op takes [B, H, W, C] views with any strides; the public functions check and choose before they call. One file per
op; ``calls.py`` has what all of them need to call into the modules.
"""
