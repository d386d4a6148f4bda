"""Ship: one signed bundle to one bin, and the bin's own verdict on it.

    open_parcel -> Parcel -> ship_to: status -> receive (tar on stdin) -> activate --wait -> Outcome

The bin decides; this side delivers and asks. Every question may be asked again, so that a run that was cut off at any
byte is mended by running it once more: a bin that has the bundle says `already`, one that tries it is waited for. It
must never report a model as live that the bin has not committed.
"""

import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from device.bundle import MANIFEST, load_bundle
from device.signature import SIGNATURE
from trainer.errors import LinkLost, ShipError, TrainerError, Unreachable
from trainer.link import Access, Answer, Host, Link, open_link

__all__ = ["TRIAL_S", "Outcome", "Parcel", "Result", "Tell", "open_parcel", "read_state", "ship_to"]

TRIAL_S: Final = 180
"""How long a bin may take to prove a model: the probe before, 30 good seconds, and room for bad ones between them."""

_ANSWER_S: Final = 60.0
_RECEIVE_S: Final = 300.0

Result = Literal["live", "already", "waiting", "offline", "lost", "refused", "rolled back", "failed", "untouched"]
"""How it ended for one bin.

live, already           the bin has committed this model: now, or before
waiting                 it is there and activated, but no service runs that could prove it
offline, lost           no way to the bin, or none any more: run it again
refused, rolled back    the bin did not want it, or went back from it
failed                  something else: our keys, its host key, no wastebin there
untouched               never asked, since it went wrong elsewhere
"""


class Tell(Protocol):
    """Is shown how far it is."""

    def __call__(self, stage: str, share: float | None = None) -> None:
        """Take a stage in a few words, and the share of it that is done, 0..1, where that is known."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A signed bundle as it goes over the link.

    Attributes:
        release: the name that it has on a bin, `<sequence>-<12 hexadecimal digits>`.
        data: an uncompressed tar: the manifest, its signature, then what the manifest lists.
    """

    release: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """How shipping to one bin ended.

    Attributes:
        host: its name.
        result: see `Result`.
        detail: why, one sentence; empty where there is nothing to say.
        live_since: when the bin committed it, by the bin's own clock, ISO 8601 in UTC; empty where it has not.
        sent_bytes: of the bundle.
        took_s: from the first question to the end.
    """

    host: str
    result: Result
    detail: str = ""
    live_since: str = ""
    sent_bytes: int = 0
    took_s: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether this bin now sorts with this model and has proved it."""
        return self.result in ("live", "already")

    @property
    def is_against(self) -> bool:
        """Whether this speaks against shipping to another bin; one that is merely off does not."""
        return self.result in ("refused", "rolled back", "failed")


def open_parcel(bundle: Path) -> Parcel:
    """Put a signed bundle into one piece; the same bundle gives the same bytes.

    Raises:
        BundleError: it is not sound.
        ShipError: it is not signed.
    """
    loaded = load_bundle(bundle)
    names = [MANIFEST, SIGNATURE, *sorted(path.name for path in bundle.iterdir() if path.name not in _FIRST)]
    if not (bundle / SIGNATURE).is_file():
        raise ShipError(f"{bundle / SIGNATURE}: the bundle is not signed; no bin would take it, see: trainer keys init")
    stream = io.BytesIO()
    # USTAR and nothing in the headers but name and size: what a bin reads is as small as it can be.
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            data = (bundle / name).read_bytes()
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return Parcel(loaded.version, stream.getvalue())


async def ship_to(
    host: Host,
    access: Access,
    parcel: Parcel,
    tell: Tell,
    *,
    trial_s: int = TRIAL_S,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Bring a parcel to one bin, have it activated, and wait for what the bin says; never raises for one bin's trouble.

    Args:
        tell: is shown how far it is.
        trial_s: how long to wait for the bin's verdict.
        clock: monotonic seconds.
    """
    begin_s = clock()
    visit = _Visit(host, parcel, tell, trial_s)
    try:
        tell("connecting")
        async with open_link(host, access) as link:
            result, detail, live_since = await visit.run(link)
    except Unreachable as error:
        result, detail, live_since = "offline", str(error), ""
    except LinkLost as error:
        result, detail, live_since = "lost", str(error), ""
    except TrainerError as error:
        result, detail, live_since = "failed", str(error), ""
    tell(result)
    return Outcome(host.name, result, detail, live_since, visit.sent_bytes, round(clock() - begin_s, 2))


async def read_state(link: Link) -> dict[str, Any]:
    """What a bin says about its models; see `device.release_state`.

    Raises:
        ShipError: it says something else.
        LinkLost: it says nothing any more.
    """
    words = [link.host.wastebin, "models", "status", "--json"]
    answer = await link.run(words, deadline_s=_ANSWER_S)
    if answer.status != 0:
        raise ShipError(_no_answer(link.host, answer))
    return _last_line(link.host, answer.out)


_FIRST: Final = (MANIFEST, SIGNATURE)
_Verdict = tuple[Result, str, str]


class _Visit:
    """One bin, from the first question to its verdict."""

    def __init__(self, host: Host, parcel: Parcel, tell: Tell, trial_s: int) -> None:
        self.sent_bytes = 0
        self._host = host
        self._parcel = parcel
        self._tell = tell
        self._trial_s = trial_s

    async def run(self, link: Link) -> _Verdict:
        self._tell("asking")
        state = await read_state(link)
        is_serving, is_trial = state.get("serving") == self._parcel.release, state.get("phase") == "trial"
        if is_serving and not is_trial:
            return "already", "", str(state.get("changed_at", ""))
        if not is_serving:
            answer = await self._deliver(link)
            if answer.status != 0:
                return "refused", answer.complaint, ""
            said = _last_line(self._host, answer.out)
            if said.get("release") != self._parcel.release:
                raise ShipError(f"{self._host}: took {said.get('release')!r} in, expected {self._parcel.release}")
        return await self._activate(link)

    async def _deliver(self, link: Link) -> Answer:
        whole = len(self._parcel.data)

        def on_sent(sent: int) -> None:
            self.sent_bytes = sent
            self._tell("sending" if sent < whole else "checking", sent / whole)

        words = [self._host.wastebin, "models", "receive", "--json"]
        return await link.run(words, data=self._parcel.data, on_sent=on_sent, deadline_s=_RECEIVE_S)

    async def _activate(self, link: Link) -> _Verdict:
        self._tell("probing")
        lines = _Lines(self._host)

        def on_out(piece: bytes) -> None:
            for state in lines.feed(piece):
                if state.get("release") == self._parcel.release and state.get("phase") == "trial":
                    self._tell("on trial")

        words = [self._host.wastebin, "models", "activate", self._parcel.release]
        answer = await link.run(
            [*words, "--wait", str(self._trial_s), "--json"], on_out=on_out, deadline_s=self._trial_s + _ANSWER_S
        )
        last = lines.last
        phase = last.get("phase") if last.get("release") == self._parcel.release else None
        if answer.status == 0 and last.get("current") == self._parcel.release:
            return "live", "", str(last.get("changed_at", ""))
        if phase == "trial":
            return "waiting", answer.complaint, ""
        if phase == "rolled_back":
            return "rolled back", str(last.get("reason") or answer.complaint), ""
        return "refused", answer.complaint or _no_answer(self._host, answer), ""


class _Lines:
    """JSON lines out of bytes that come in any pieces."""

    def __init__(self, host: Host) -> None:
        self.last: dict[str, Any] = {}
        self._host = host
        self._rest = b""

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        found = [_object(self._host, line) for line in whole if line.strip()]
        self.last = found[-1] if found else self.last
        return found


def _last_line(host: Host, out: bytes) -> dict[str, Any]:
    lines = out.strip().splitlines()
    return _object(host, lines[-1] if lines else b"")


def _object(host: Host, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ShipError(
            f"{host}: {host.wastebin} said {line[:60]!r}, expected a line of JSON; "
            f"is it the wastebin of this project? see: trainer provision --host {host}"
        )
    return found


def _no_answer(host: Host, answer: Answer) -> str:
    return (
        f"{host}: {host.wastebin} ended with status {answer.status} ({answer.complaint or 'without a word'}); "
        f"install it with: trainer provision --host {host}, or update it with: trainer upgrade --host {host}"
    )
