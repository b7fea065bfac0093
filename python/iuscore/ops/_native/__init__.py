"""The compiled kernels as torch custom ops, so that torch.compile, CUDA graphs and opcheck know them.

One file for each op, with its CPU and its CUDA side. The public functions check arguments and choose a back end before
they call. ``calls.py`` has what all files need to call the compiled modules.
"""
