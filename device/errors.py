"""Every error of the project, on one page.

    WastebinError                      a sentence: where, observed, expected, next step; exit 1
      UsageError                       the command line is wrong; exit 2
      ConfigError(ValueError)          all problems of a configuration at once
      BundleError
        BundleNotFound(FileNotFoundError)
        BundleMismatch(ValueError)     bytes or fields are not what the manifest promises
        BundleUnsupported(ValueError)  made for another version of wastebin
        BundleRefused(ValueError)      whole and well signed, and yet no good on this device
        BundleUntrusted(ValueError)    not signed by a key that this bin trusts
      ReleaseError(RuntimeError)       the store of models cannot do what was asked: busy, full, older than what ran
      PictureError(ValueError)         a picture cannot be read
      ItemsError(ValueError)           a folder or archive of pictures is no use
      CameraError(OSError)
        CameraNotFound                 nothing there, or it is busy
        CameraStalled                  no new frame in time, or the same one again and again
      OutputError(RuntimeError)        a pin or servo refused
      EventsError(OSError)             the database cannot be opened or written
        EventsBusy                     another bin writes it
      InstallError(RuntimeError)       a step of the installation did not work
      LearntError(RuntimeError)        what this site taught cannot be read, kept or used
      CalibrationError(RuntimeError)   a calibration cannot be read or kept, or a step cannot be done here
      LendError(RuntimeError)          camera and outputs are not to be had for a calibration now
      DashboardError(RuntimeError)     the dashboard cannot do what was asked, or its file is damaged

`trainer` hangs its own branch, `TrainerError`, on the same root.
"""

from collections.abc import Sequence

__all__ = [
    "BundleError",
    "BundleMismatch",
    "BundleNotFound",
    "BundleRefused",
    "BundleUnsupported",
    "BundleUntrusted",
    "CalibrationError",
    "CameraError",
    "CameraNotFound",
    "CameraStalled",
    "ConfigError",
    "DashboardError",
    "EventsBusy",
    "EventsError",
    "InstallError",
    "ItemsError",
    "LearntError",
    "LendError",
    "OutputError",
    "PictureError",
    "ReleaseError",
    "UsageError",
    "WastebinError",
]


class WastebinError(Exception):
    """Something a person can mend; its text says where, observed, expected, next step."""

    exit_code = 1


class UsageError(WastebinError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ConfigError(WastebinError, ValueError):
    """A configuration is wrong.

    Attributes:
        problems: one sentence each, all that were found, in the file's order.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("; ".join(self.problems))


class BundleError(WastebinError):
    """A model bundle cannot be used."""


class BundleNotFound(BundleError, FileNotFoundError):
    """The bundle, or a file that its manifest lists, is missing."""


class BundleMismatch(BundleError, ValueError):
    """A bundle's bytes, fields or answers are not what its manifest promises."""


class BundleUnsupported(BundleError, ValueError):
    """The bundle needs another version of wastebin."""


class BundleUntrusted(BundleError, ValueError):
    """Nobody whom this bin trusts has signed the manifest."""


class ReleaseError(WastebinError, RuntimeError):
    """The store of models cannot do what was asked."""


class BundleRefused(BundleError, ValueError):
    """The bundle is what its manifest says, and yet this device must not use it; the text says why."""


class PictureError(WastebinError, ValueError):
    """A picture is missing, damaged, too large or no picture."""


class ItemsError(WastebinError, ValueError):
    """A folder or archive of class folders cannot be used."""


class CameraError(WastebinError, OSError):
    """The camera cannot deliver frames."""


class CameraNotFound(CameraError):
    """No such camera, or another process holds it."""


class CameraStalled(CameraError):
    """The camera gives no new frame in time, or repeats one."""


class OutputError(WastebinError, RuntimeError):
    """A pin, servo or LED refused."""


class EventsError(WastebinError, OSError):
    """The event database cannot be opened or written."""


class EventsBusy(EventsError):
    """Another wastebin runs here and writes its events."""


class InstallError(WastebinError, RuntimeError):
    """A step of the installation did not work; what was made before it stays."""


class LearntError(WastebinError, RuntimeError):
    """What was learnt from this site's looks cannot be read, kept or used."""


class DashboardError(WastebinError, RuntimeError):
    """The dashboard refuses a request, or its file cannot be read or written.

    Attributes:
        status: what HTTP calls it.
    """

    def __init__(self, sentence: str, status: int = 400) -> None:
        self.status = status
        super().__init__(sentence)


class CalibrationError(WastebinError, RuntimeError):
    """A calibration cannot be read or kept, or one of its steps cannot be done here."""


class LendError(WastebinError, RuntimeError):
    """Camera and outputs cannot be lent to a calibration now."""
