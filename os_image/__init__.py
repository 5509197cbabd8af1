"""A minimal immutable virtual machine, from locked packages to a bootable disk."""
