"""Start Triton inside its image: `python3 -I /opt/triton/start.py OPTIONS…`.

Triton's python backend sets the permissions of its stub before it runs it, and gives up where it may
not. The image is read-only, so the stub is copied into the container's own memory first.
"""

import os
import shutil
import sys
from pathlib import Path

HOME = Path("/opt/triton")
BACKENDS = Path("/tmp/backends")  # noqa: S108 - the container's own memory, empty when it starts
STUB = "triton_python_backend_stub"


def main(options: list[str]) -> None:
    """Become the server."""
    server, backend = HOME / "pytriton" / "tritonserver", BACKENDS / "python"
    backend.mkdir(parents=True)
    for path in (server / "backends" / "python").iterdir():
        if path.name == STUB:
            shutil.copyfile(path, backend / STUB)
        else:
            (backend / path.name).symlink_to(path)
    program = str(server / "bin" / "tritonserver")
    libraries = str(HOME / "nvidia_pytriton.libs")
    # By their places beside the stub they would be found from its original place alone.
    environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libraries}
    os.execve(program, [program, f"--backend-directory={BACKENDS}", *options], environment)  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
