"""Engines for NVIDIA GPUs (`trtllm-checkpoint`, `trt-plan`), made in the vendor's container.

They are recorded and not claimed to be rebuildable: TensorRT measures kernels while it builds, and
two builds of the same weights differ.
"""
