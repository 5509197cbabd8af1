"""What can go wrong inside the guest.

`GuestError` is the root. Each class has a `code`, stable across releases, that tests and the
journal name; messages say what, expected, got, and never hold a byte that a caller sent.
"""


class GuestError(Exception):
    """Anything that the guest's own code refuses or fails to do."""

    code = "guest.error"


class DiskError(GuestError):
    """The application's disk is missing, ambiguous or not of the agreed form."""

    code = "guest.disk"


class TableError(DiskError):
    """A partition table does not follow the specification."""

    code = "guest.partition_table"


class TpmError(GuestError):
    """The TPM refused a command, or answered with something that contradicts itself."""

    code = "guest.tpm"


class CertificateError(GuestError):
    """An index of the TPM does not hold the certificate that it should hold."""

    code = "guest.certificate"


class RequestError(GuestError):
    """A caller's request is not of the agreed form; `status` is the HTTP answer."""

    code = "guest.request"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BusyError(GuestError):
    """More callers wait than the service is willing to hold."""

    code = "guest.busy"


class AppError(GuestError):
    """The application's description does not fit this image."""

    code = "guest.app"
