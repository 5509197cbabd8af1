"""Images that are made from locked packages, by the names that manifests call them.

An application names what it needs; only that is fetched, made and put onto its disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app_disk.busybox import BUSYBOX_NAME, BUSYBOX_PACKAGE, busybox_image
from app_disk.front_image import FRONT_NAME, FRONT_SET, front_image
from app_disk.image import PAUSE_NAME, SERVER_NAME, Image, pause_image, server_image
from app_disk.triton.image import TRITON_NAME, TRITON_SET, TRITON_WHEEL, triton_image
from supply_chain.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app_disk.application import App
    from supply_chain.inputs.lock import DebianPackage, Lock, Wheel
    from supply_chain.inputs.locked import LockedInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image is made from the lock."""

    name: str
    """Registry host and repository, without tag or digest."""
    set_name: str
    """The set of the lock that holds its packages."""
    only: tuple[str, ...] = ()
    """The packages that it is made from; all of the set when none is named."""
    wheels: tuple[str, ...] = ()
    """The wheels of the lock that it is made from as well."""
    make: Callable[..., Image]
    """Makes it from the root that these packages are unpacked into, and from each wheel's file."""

    def packages(self, lock: Lock) -> tuple[DebianPackage, ...]:
        """The packages that it is made from.

        Raises:
            LockError: The lock lacks one of them.
        """
        held = lock.debian(self.set_name)
        if not self.only:
            return held
        found = tuple(package for package in held if package.name in self.only)
        if len(found) != len(self.only):
            raise LockError(
                f"set {self.set_name}: expected {', '.join(self.only)}, "
                f"got {', '.join(package.name for package in found) or 'none of them'}"
            )
        return found

    def inputs(self, lock: Lock) -> tuple[DebianPackage | Wheel, ...]:
        """All that it is made from.

        Raises:
            LockError: The lock lacks one of them.
        """
        return (*self.packages(lock), *(lock.wheel(name) for name in self.wheels))

    def image(self, inputs: LockedInputs) -> Image:
        """The image, made from inputs that are in the store.

        Raises:
            LockError: The lock lacks one of them.
            ImageError: They do not hold what it needs.
        """
        wheels = (inputs.path(inputs.lock.wheel(name)) for name in self.wheels)
        return self.make(inputs.unpacked(self.packages(inputs.lock)), *wheels)


PAUSE = Recipe(name=PAUSE_NAME, set_name="rootfs", only=("catatonit",), make=pause_image)
"""Of the guest's own version: podman knows how to run it as a pod's first process."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name=BUSYBOX_NAME, set_name="initrd", only=(BUSYBOX_PACKAGE,), make=busybox_image),
        Recipe(name=FRONT_NAME, set_name=FRONT_SET, make=front_image),
        Recipe(name=SERVER_NAME, set_name="llama", make=server_image),
        Recipe(name=TRITON_NAME, set_name=TRITON_SET, wheels=(TRITON_WHEEL,), make=triton_image),
    )
}
"""The images that an application may name, beside those that it brings itself."""


def app_recipes(app: App) -> tuple[Recipe, ...]:
    """The recipes of the images that an application names, by name, and of the pods' own last."""
    names = sorted({image.partition("@")[0] for image in app.images} & RECIPES.keys())
    return (*(RECIPES[name] for name in names), PAUSE)
