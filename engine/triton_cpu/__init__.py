"""Triton on a CPU, with the reference's model `ensemble` over a GGUF engine: an optional server.

Its program comes from the wheel `nvidia-pytriton`, which is no dependency of anything else.
"""
