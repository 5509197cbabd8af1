"""Signed statements about a build: layout, links, provenance, measurements, release index."""
