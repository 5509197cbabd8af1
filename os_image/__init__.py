"""A minimal immutable virtual machine: root file system, initrd, kernel and disk from locked packages."""
