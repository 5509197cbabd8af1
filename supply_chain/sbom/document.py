"""One bill of materials as bytes: CycloneDX 1.6 JSON, the same for the same content.

Made and checked with CycloneDX's own library. What would vary is fixed: the time is the build's
epoch, and the serial number is derived from everything else in the document.

Source: CycloneDX 1.6 (ECMA-424); package URL specification, types deb and pypi.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import fixup_id
from packageurl import PackageURL

from supply_chain.errors import BuildError
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cyclonedx.model.license import License

    from supply_chain.digest import Sha256
    from supply_chain.inputs.lock import DebianPackage

SBOM = "sbom.cdx.json"
"""Name of the product that a step leaves beside its disk."""
_SERIAL_NUMBERS = UUID("5f2d9a0e-7c31-5b1e-8a46-626c696e646c")
"""The name space of the serial numbers; any fixed value does."""
_UNNUMBERED = UUID(int=0)


class SbomError(BuildError):
    """A bill of materials cannot be made of what a step built."""

    code: ClassVar[str] = "build.sbom"


def sbom_document(
    subject: Component,
    parts: Iterable[Component],
    *,
    inside: Mapping[Component, Iterable[Component]] | None = None,
) -> bytes:
    """Return the bill of materials of a subject, valid by CycloneDX's own schema.

    Args:
        subject: What it is about.
        parts: Everything that is in the subject.
        inside: Which parts make up another part, such as a container image on a disk.

    Raises:
        SbomError: The document is not what the schema demands.
    """
    components = sorted(set(parts))
    bom = Bom(
        serial_number=_UNNUMBERED,
        components=components,
        metadata=BomMetaData(
            component=subject,
            timestamp=datetime.fromtimestamp(EPOCH, UTC),
        ),
    )
    bom.register_dependency(subject, components)
    for whole, pieces in (inside or {}).items():
        bom.register_dependency(whole, pieces)
    bom.serial_number = uuid5(_SERIAL_NUMBERS, JsonV1Dot6(bom).output_as_string())
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    _validate(text)
    return f"{text}\n".encode()


def package_part(
    package: DebianPackage, *, licence: str | None, properties: Mapping[str, str]
) -> Component:
    """Return a Debian package as a part: the file that the lock names, by its digest."""
    purl = PackageURL(
        type="deb",
        namespace="debian",
        name=package.name,
        version=package.version,
        qualifiers={"arch": package.architecture, "distro": package.suite.partition("-")[0]},
    )
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[hash_of(package.sha256)],
        licenses=licences(licence),
        properties=named(properties.items()),
    )


def file_part(path: str, digest: Sha256, *, properties: Mapping[str, str]) -> Component:
    """Return a file that is in no package as a part, by its path in the subject."""
    return Component(
        name=path,
        type=ComponentType.FILE,
        bom_ref=f"file:{properties.get('blindllama:part', '')}:{path}",
        hashes=[hash_of(digest)],
        properties=named(properties.items()),
    )


def hash_of(digest: Sha256) -> HashType:
    """Return a digest as CycloneDX writes it."""
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex)


def licences(spdx: str | None) -> list[License]:
    """Return the licence that something declares; nothing when it is not known.

    Args:
        spdx: Its SPDX identifier; the name of a licence that has none is taken as it is.
    """
    if spdx is None:
        return []
    declared = LicenseAcknowledgement.DECLARED
    known = fixup_id(spdx)
    if known is not None:
        return [DisjunctiveLicense(id=known, acknowledgement=declared)]
    return [DisjunctiveLicense(name=spdx, acknowledgement=declared)]


def named(properties: Iterable[tuple[str, str]]) -> list[Property]:
    """Return properties with their values; a name may be there more than once."""
    return [Property(name=name, value=value) for name, value in properties]


def _validate(text: str) -> None:
    # Imported here: it compiles grammars for a second, which a run that builds nothing must not pay.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise SbomError(f"bill of materials: not valid CycloneDX 1.6: {str(fault)[:2000]}")
