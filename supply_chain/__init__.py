"""Pinned inputs in, signed statements out."""
