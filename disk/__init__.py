"""Read-only block images: erofs, dm-verity, FAT and GPT, the same bytes every time.

Nothing is mounted and no loop device is used.
"""
