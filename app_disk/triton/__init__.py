"""Triton on a CPU, with the reference's model `ensemble` over a GGUF engine: an optional server.

Its program comes from the wheel `nvidia-pytriton`, of which nothing is imported or installed; only
an application that names the image `localhost/triton` has it fetched.
"""
