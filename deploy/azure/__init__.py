"""A release on Azure: its disks as managed disks of Trusted Launch virtual machines."""
