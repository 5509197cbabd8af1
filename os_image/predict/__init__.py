"""Prediction of the PCRs that an image will produce: one file per register, with its sources.

Pure functions over files. The table of all registers is docs/measurements.md.
"""
