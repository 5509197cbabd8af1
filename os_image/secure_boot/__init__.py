"""Secure Boot with keys of one's own: made, enrolled in a variable store, used to sign an image.

It is an addition to a finished release and no part of it: docs/adr/0018-secure-boot.md.
"""
