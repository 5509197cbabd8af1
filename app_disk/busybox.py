"""The image of busybox: a web server, a shell and small tools in one static program.

For the example application and for tests that look around inside a guest.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from app_disk.image import Image, build_image, file_inside, licence_entries
from app_disk.layer import Entry

if TYPE_CHECKING:
    from supply_chain.inputs.tree import Tree

BUSYBOX_NAME = "localhost/busybox"
BUSYBOX_PACKAGE = "busybox-static"

_PROGRAM = PurePosixPath("/usr/bin/busybox")
_APPLETS = ("cat", "grep", "httpd", "id", "ls", "nc", "nslookup", "ping", "ping6", "sh", "wget")
_MOUNT_POINTS = ("dev", "etc", "proc", "run", "srv", "sys", "tmp")


def busybox_image(tree: Tree) -> Image:
    """The image of busybox with links for what the examples and tests call.

    Raises:
        ImageError: The packages hold no busybox.
    """
    program = Entry(
        path=PurePosixPath("bin/busybox"),
        source=file_inside(tree.root, _PROGRAM),
        executable=True,
    )
    links = [Entry(path=PurePosixPath("bin") / name, target="busybox") for name in _APPLETS]
    mounts = [Entry(path=PurePosixPath(name)) for name in _MOUNT_POINTS]
    entries = [program, *links, *mounts, *licence_entries(tree.root, only=BUSYBOX_PACKAGE)]
    return build_image(BUSYBOX_NAME, entries, entrypoint=["/bin/busybox"])
