"""What only a GPU can show; benchmarks/gpu/run.py reads it, and the pretended device of the tests leaves it out.

Everything else of the CUDA half runs without one: kernels, launchers, bindings and the Python code above them
(tests/equivalence/test_host_cuda.py and test_pretended_gpu.py).
"""

from __future__ import annotations

TESTS = {
    "tests/equivalence/test_additive_cnn_gpu.py": "cuDNN's convolutions, CUDA graphs, streams, TF32",
    "tests/oracles/test_additive_cnn.py": "cuDNN's convolutions",
    **{
        f"tests/ops/test_{name}_opcheck": "PyTorch's dispatch to a CUDA device"
        for name in (
            "additive_lookup.py::test_custom_op_passes",
            "additive_mlp.py::test_custom_op_passes",
            "color_histogram.py::test_custom_op_passes",
            "glcm.py::test_custom_ops_pass",
            "image_views.py::test_custom_op_passes",
            "perceptual_maps.py::test_custom_ops_pass",
            "resize.py::test_custom_op_passes",
        )
    },
}
"""Tests marked cuda, by the beginning of their names, and what of theirs cannot be pretended."""

STEPS = {
    "build": "the machine code for this GPU is found and loaded",
    "tests": "bits of NaN and of conversions that are instructions there; memory that is the GPU's; the stream's order",
    "memcheck": "reads and writes outside of an array in the GPU's memory; misaligned addresses",
    "racecheck": "shared memory as warps that run at once see it",
    "networks": "EPU-CNN's rate, beside PyTorch and torch.compile",
    "measure": "rates, occupancy, the largest batches and images; results of CUDA graphs and of other streams",
}
"""Steps of benchmarks/gpu/run.py, and what each shows that nothing else does."""
