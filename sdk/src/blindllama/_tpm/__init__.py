"""Bytes that a TPM made: parsed strictly and verified in pure Python.

Nothing here does I/O, and nothing here trusts what it parses until `quote.verify_quote` says so.
"""
