"""A release on this machine: QEMU with OVMF and a software TPM that looks like Azure's."""
