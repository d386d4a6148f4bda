"""Fetch: the model that a bin runs now, so that the gate can compare with it.

    bin: wastebin models send -> tar -> a folder here -> load_bundle

What comes from a bin is read as carefully as a bin reads what comes from us: plain files with plain names, the manifest
says which, and hashes must hold. It must never be run on a bin again from here.
"""

import asyncio
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device.bundle import Bundle, load_bundle
from device.errors import BundleError
from trainer.errors import ShipError
from trainer.link import Access, Host, Link, open_link

__all__ = ["fetch_serving"]

_DEADLINE_S: Final = 300.0


def fetch_serving(hosts: Sequence[Host], access: Access, folder: Path) -> dict[str, Bundle]:
    """The bundle that each bin runs; one that is here already is not fetched again.

    Args:
        folder: keeps them, each in a folder of its version's name.

    Returns:
        By version, each once.

    Raises:
        LinkError, Unreachable, LinkLost: there is no way to a bin.
        ShipError: what it sends is no bundle.
    """

    async def all_of_them() -> list[Bundle]:
        return [await _one(host, access, folder) for host in hosts]

    return {bundle.version: bundle for bundle in asyncio.run(all_of_them())}


async def _one(host: Host, access: Access, folder: Path) -> Bundle:
    async with open_link(host, access) as link:
        return _keep(host, await _sent(link), folder)


async def _sent(link: Link) -> bytes:
    answer = await link.run([link.host.wastebin, "models", "send"], deadline_s=_DEADLINE_S)
    if answer.status != 0:
        raise ShipError(f"{link.host}: does not send its model ({answer.complaint}); see: trainer upgrade")
    return answer.out


def _keep(host: Host, data: bytes, folder: Path) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:
        new = Path(place) / "bundle"
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                tar.extractall(new, filter="data")
            bundle = load_bundle(new)
        except (tarfile.TarError, OSError, BundleError) as error:
            raise ShipError(f"{host}: sent no sound bundle ({error}); look at it with: wastebin models list") from error
        kept = folder / bundle.version
        if not kept.exists():
            new.rename(kept)
    return load_bundle(kept)
