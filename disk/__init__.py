"""Read-only block images: erofs, dm-verity, FAT and GPT, without mounts or loop devices, the same bytes every time."""
