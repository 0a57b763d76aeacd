"""What can be wrong with an ECG that somebody sent, as one tree of errors.

::

    EcgError
    ├── UnsupportedFormat            not a format that is read here
    │   └── EmptyFile                nothing was sent
    ├── DecodeError                  the format is known, its content is broken
    │   ├── TruncatedFile            shorter than the file itself says
    │   ├── ChecksumMismatch         samples are not what was recorded
    │   ├── UnsafeFile               paths, bombs and sizes that no ECG has
    │   ├── UnreadableFile           its reader failed in a way that nobody foresaw
    │   ├── MissingMetadata          sampling rate, unit or lead names are not stated
    │   └── UnknownUnit              a unit that is no voltage
    ├── IncompleteRecording          not a 12-lead ECG of sufficient length
    │   ├── MissingLeads
    │   ├── TooShort
    │   └── MissingSamples           NaN, gaps, lead-off markers
    └── UnusableSignal               12 leads, but no heart can be read from them
        ├── FlatLeads
        ├── SaturatedLeads
        ├── ImplausibleAmplitude     most often a wrong unit
        └── TooNoisy
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

Kind = TypeVar("Kind", bound=Exception)


def kinds_of(root: type[Kind]) -> list[type[Kind]]:
    """An error and all its kinds, from the root of the tree to its leaves."""
    return [root, *(deeper for child in root.__subclasses__() for deeper in kinds_of(child))]


class EcgError(Exception):
    """An ECG that cannot be used, told so that its sender can mend it.

    Attributes
    ----------
    code : str
        Stable name of the cause; the problem type of the REST interface.
    title : str
        The cause in a few words, the same for every occurrence.
    advice : str
        What the sender can do about it.
    detail : str
        What was found in this file, and where.
    """

    code: ClassVar[str] = "unusable-ecg"
    title: ClassVar[str] = "The ECG cannot be used"
    advice: ClassVar[str] = "Send a 12-lead ECG of at least 7 s in one of the documented formats."

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnsupportedFormat(EcgError):
    """The bytes are no ECG format that is read here."""

    code = "unsupported-format"
    title = "This is no ECG format that is read here"
    advice = (
        "Send the export of the electrocardiograph or archive: DICOM, SCP-ECG, HL7 aECG, the XML of GE, Philips, "
        "Schiller or Mortara, FHIR, EDF, BDF, ISHNE, MFER, WFDB (a zip of header and signal), CSV or JSON."
    )


class EmptyFile(UnsupportedFormat):
    """Nothing was sent."""

    code = "empty-file"
    title = "The file is empty"
    advice = "Send the bytes of the ECG file as the request body."


class DecodeError(EcgError):
    """The format is recognised, but its content contradicts it."""

    code = "corrupt-file"
    title = "The file is damaged or breaks the rules of its format"
    advice = "Export the ECG again from the device or archive and send the new file."


class TruncatedFile(DecodeError):
    """The file ends before the samples that its header announces."""

    code = "truncated-file"
    title = "The file ends too early"
    advice = "The transfer was probably cut: send the whole file again."


class ChecksumMismatch(DecodeError):
    """A checksum carried by the file does not fit its samples."""

    code = "checksum-mismatch"
    title = "The checksum of the file does not fit its samples"
    advice = "The file was changed after it was written: export it again from its source."


class UnsafeFile(DecodeError):
    """The file asks for something no ECG needs: foreign paths, huge sizes, deep nesting."""

    code = "unsafe-file"
    title = "The file asks for more than any ECG needs"
    advice = "Send the plain export of one resting ECG, without directories, links or nested archives."


class UnreadableFile(DecodeError):
    """The reader of its format failed in a way that nobody foresaw: a fault of ours that this file brings to light."""

    code = "unreadable-file"
    title = "The file made its reader fail"
    advice = "Export the ECG again, if you can in another format; the operator's log says where the reader failed."


class MissingMetadata(DecodeError):
    """Sampling rate, unit or lead names are not stated, and are never guessed."""

    code = "missing-metadata"
    title = "Sampling rate, unit or lead names are not stated"
    advice = "State them in the file, or with the request: ?sampling_rate=500&unit=mV"


class UnknownUnit(DecodeError):
    """The stated unit is no unit of voltage."""

    code = "unknown-unit"
    title = "The stated unit is no unit of voltage"
    advice = "Use mV, uV, nV or V."


class IncompleteRecording(EcgError):
    """The file is sound, but it is no complete 12-lead resting ECG."""

    code = "incomplete-recording"
    title = "The recording is not complete"


class MissingLeads(IncompleteRecording):
    """Leads are missing that cannot be computed from the others."""

    code = "missing-leads"
    title = "Leads are missing"
    advice = "I, II and V1 to V6 must be there; III, aVR, aVL and aVF are derived when they are not."


class TooShort(IncompleteRecording):
    """The recording is shorter than a model can read."""

    code = "too-short"
    title = "The recording is too short"
    advice = "Send at least 7 s of all 12 leads at once; a 3x4 print-out holds only 2.5 s of each lead."


class MissingSamples(IncompleteRecording):
    """Samples are missing in a lead that cannot be computed from the others."""

    code = "missing-samples"
    title = "Samples are missing"
    advice = "Send a recording without gaps; gaps are never filled with zeros here."


class UnusableSignal(EcgError):
    """Twelve leads are there, but no heart can be read from them."""

    code = "unusable-signal"
    title = "The signal cannot be read"
    advice = "Check the electrodes and record the ECG again."


class FlatLeads(UnusableSignal):
    """One lead or more carries no signal."""

    code = "flat-leads"
    title = "Leads without a signal"


class SaturatedLeads(UnusableSignal):
    """The amplifier was at its limit for too long."""

    code = "saturated-leads"
    title = "Leads at the limit of the amplifier"


class ImplausibleAmplitude(UnusableSignal):
    """No heart has this amplitude: most often the unit is wrong."""

    code = "implausible-amplitude"
    title = "Amplitudes that no heart has"
    advice = "Check the unit of the file: microvolts labelled as millivolts are the usual cause."


class TooNoisy(UnusableSignal):
    """No heartbeat can be told from the noise."""

    code = "too-noisy"
    title = "No heartbeat can be told from the noise"
