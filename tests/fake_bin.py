"""A bin of a hundred lines that answers `wastebin models ...` in milliseconds: for a fleet of twenty on two cores.

Run as a program: python fake_bin.py FOLDER models status|receive|activate|send ... What it knows lies in FOLDER:
`state.json`, `serving` (a bundle to send), `verdict` (what it will think of a model: good, bad, refuse, full or off)
and `asked`, what it was asked.
"""

import hashlib
import json
import sys
import tarfile
import time
from pathlib import Path


def main(folder: Path, words: list[str]) -> int:
    verb = words[1]
    with (folder / "asked").open("a") as asked:
        asked.write(f"{verb}\n")
    state = json.loads((folder / "state.json").read_text())
    if verb == "status":
        serving = state["release"] if state["phase"] == "trial" else state["current"]
        print(json.dumps({**state, "serving": serving}))
        return 0
    if verb == "send":
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
            for path in sorted((folder / "serving").iterdir()):
                tar.add(path, arcname=path.name)
        return 0
    if verb == "receive" and (folder / "verdict").read_text() == "full":
        print("error: /var/lib/wastebin/models: 12 MiB free, expected 53 MiB; remove something else", file=sys.stderr)
        return 1
    if verb == "receive":
        return _receive(folder)
    return _activate(folder, state, words[2])


def _receive(folder: Path) -> int:
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        member = tar.next()
        assert member is not None
        content = tar.extractfile(member)
        assert content is not None
        manifest = content.read()
        for _ in tar:
            pass
    release = f"{json.loads(manifest)['sequence']}-{hashlib.sha256(manifest).hexdigest()[:12]}"
    already = (folder / release).exists()
    (folder / release).touch()
    print(json.dumps({"release": release, "already": already}))
    return 0


def _activate(folder: Path, state: dict[str, object], release: str) -> int:
    verdict = (folder / "verdict").read_text()
    if verdict == "refuse":
        print(f"error: {release}: 7 of 40 labelled pictures are worse; ship a better one", file=sys.stderr)
        return 1
    state.update(phase="trial", release=release, reason="")
    print(json.dumps(state), flush=True)
    if (folder / "trial_s").exists():
        time.sleep(float((folder / "trial_s").read_text()))  # what a benchmark asks for
    if verdict == "off":
        print(f"error: {release}: no wastebin is running; it is tried when one starts", file=sys.stderr)
    elif verdict == "bad":
        state.update(phase="rolled_back", reason="no frame was named in 30 s")
    else:
        state.update(phase="committed", current=release, changed_at="2026-11-23T14:02:11.000+00:00")
    (folder / "state.json").write_text(json.dumps(state))
    if verdict != "off":
        print(json.dumps(state))
    return int(verdict != "good")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
