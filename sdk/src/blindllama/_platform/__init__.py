"""Where a guest can run: one small file for each platform.

A platform says which registers its quotes cover, which of them must match, how its attestation
keys sign, and which roots vouch for them. It is chosen by the caller's policy and by nothing else.
"""
