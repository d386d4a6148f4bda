"""What a key that may ship models may ask for over ssh, and nothing else.

    authorized_keys: restrict,command="wastebin models remote" -> SSH_ORIGINAL_COMMAND -> allowed_words -> that command

A stolen key of this kind opens no shell, names no file and reads no configuration but the bin's own. What it uploads
must still be signed by another key. It must never hand a word on that is not one of a few plain shapes.
"""

import re
import shlex
from pathlib import Path
from typing import Final

from device.errors import UsageError

__all__ = ["allowed_words"]

MODELS: Final = frozenset({"receive", "list", "status", "activate", "rollback", "send", "verify"})
_WORD: Final = re.compile(r"--[a-z][a-z-]*|[0-9A-Za-z][0-9A-Za-z:.+-]*")
_OF_THE_BIN: Final = frozenset({"--config", "--model"})


def allowed_words(command: str, config: Path | None) -> list[str]:
    """The arguments of `wastebin` that a command line from afar stands for.

    Args:
        command: as ssh was given it; the first word is the program, whatever it is called there.
        config: the bin's own, added to the words.

    Raises:
        UsageError: it asks for something else than is allowed.
    """
    try:
        program, *words = shlex.split(command)
    except ValueError:
        program, words = "", []
    is_known = words[:1] == ["export"] or (words[:1] == ["models"] and words[1:2] and words[1] in MODELS)
    is_plain = command.isprintable() and all(_WORD.fullmatch(word) and word not in _OF_THE_BIN for word in words)
    if Path(program).name != "wastebin" or not is_known or not is_plain:
        raise UsageError(
            f"models remote: {command!r} is not allowed with this key, expected wastebin models "
            f"{'|'.join(sorted(MODELS))}, or wastebin export"
        )
    return words if config is None else [*words, "--config", str(config)]
