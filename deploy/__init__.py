"""Where a release runs: QEMU here, Azure elsewhere."""
