"""Read what is true of this bin and of no other: cameras, bins, wiring, costs.

    file.toml -> load_config -> Config (frozen) -> whoever builds the bin hands on flat values

Every problem of a file is told at once, each with file, key, what is there and what is expected; an unknown key or
section is a problem too, since a typing error that is silently ignored is found months later. It must never repair or
guess a value, touch a pin, or open a camera, so that a file is checked on any machine. What is true of the model stands
in its bundle; the tables here only override it where the bin knows better.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from device.camera import CAMERAS
from device.config_dashboard import DashboardConfig, parse_dashboard
from device.config_sensors import SensorsConfig, parse_sensors
from device.config_types import SPOT_CHECK_RATE, CameraConfig, Config, DecideConfig, ModelConfig, ModelsConfig
from device.errors import ConfigError
from device.fields import build
from device.gate import LEAST_REGION_PX, GateRule
from device.outputs import OutputsConfig, parse_outputs
from device.route import DEFAULT_SITE, Bin, Site

__all__ = [
    "REFERENCE_BUILDS",
    "CameraConfig",
    "Config",
    "DecideConfig",
    "ModelConfig",
    "ModelsConfig",
    "load_config",
    "state_dir",
]

REFERENCE_BUILDS: Final = tuple(
    Path(__file__).parent / "builds" / f"{name}.toml" for name in ("leds", "flaps", "diverter")
)
"""Complete configurations to copy; the first one stands in where no file is named."""

MOST_UNSURE: Final = 1000
SECTIONS: Final = (
    *("camera", "gate", "model", "models", "decide", "bin", "costs", "outputs", "sensors", "events", "dashboard"),
)

_SIZE_PX: Final = (64, 4608)  # the long side of Camera Module 3
_RATE_HZ: Final = (1.0, 120.0)
_THREADS: Final = (1, 16)
_FRAMES: Final = (1, 1000)
_COST: Final = (0.0, 1e6)

T = TypeVar("T")


# The tables as they stand in the file; `fields.build` checks names and types, the reader below checks values.


@dataclass(frozen=True, slots=True)
class _CameraTable:
    source: str = "picamera2"
    size_px: tuple[int, ...] = (640, 480)
    rate_hz: float = 15.0
    region: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class _ModelTable:
    path: str | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class _ModelsTable:
    store: str = str(ModelsConfig().store)
    signers: str = str(ModelsConfig().signers)


@dataclass(frozen=True, slots=True)
class _BinTable:
    name: str
    takes: tuple[str, ...] = ()
    residual: bool = False


@dataclass(frozen=True, slots=True)
class _CostsTable:
    contamination: float | None = None
    missed: float | None = None


@dataclass(frozen=True, slots=True)
class _EventsTable:
    path: str | None = None
    keep_unsure: int = 0
    spot_check_rate: float = SPOT_CHECK_RATE


def load_config(
    path: Path | None, *, labels: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """Read and check a configuration.

    Args:
        path: a TOML file; None gives the built-in bin: six bins, the LED build, the Pi's own camera. Paths in the file
            are relative to its folder; `~` is the home folder.
        labels: the model's materials; if given, each needs a bin.
        environ: environment variables; this process's if None.

    Raises:
        ConfigError: with every problem, in the order of the file's sections.
    """
    file = REFERENCE_BUILDS[0] if path is None else path
    reader = _Reader(file, _read_toml(file))
    config = reader.read(labels, os.environ if environ is None else environ)
    # The built-in bin names no costs, so that those of the bundle count, and listens nowhere.
    return config if path is not None else replace(config, file=None, contamination=None, missed=None, dashboard=None)


def state_dir(environ: Mapping[str, str]) -> Path:
    """The folder for data that must survive: systemd's, XDG's, or `~/.local/state/wastebin`.

    Raises:
        ConfigError: the environment names none, not even a home.
    """
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "wastebin"
    if environ.get("HOME"):
        return Path(environ["HOME"]) / ".local" / "state" / "wastebin"
    raise ConfigError("the environment has neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME; set [events] path")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        copies = ", ".join(map(str, REFERENCE_BUILDS))
        raise ConfigError(f"{file}: no such file; copy one of the reference builds and edit it: {copies}") from None
    except OSError as exc:
        raise ConfigError(
            f"{file}: cannot be read: {exc.strerror}; expected a TOML file that this user may read"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: byte {exc.start} is no UTF-8; save the file as UTF-8 text") from exc
    except RecursionError:
        raise ConfigError(f"{file}: not TOML: brackets in brackets without end; correct that place") from None
    except tomllib.TOMLDecodeError as exc:
        # tomllib's text ends with "(at line 3, column 5)".
        raise ConfigError(f"{file}: not TOML: {exc}; correct that place, see https://toml.io") from exc


class _Reader:
    """Reads the sections of one file and collects what is wrong with them."""

    def __init__(self, file: Path, document: dict[str, Any]) -> None:
        self._file = file
        self._document = document
        self._problems: list[tuple[str, str]] = []

    def read(self, labels: Sequence[str] | None, environ: Mapping[str, str]) -> Config:
        for section in self._document:
            if section not in SECTIONS:
                near = get_close_matches(section, SECTIONS, n=1)
                hint = f"did you mean [{near[0]}]?" if near else f"known are: {', '.join(SECTIONS)}"
                self._say(section, f"[{section}] is an unknown section or key; {hint}")
        camera = self._camera()
        gate = self._table("gate", GateRule) or GateRule()
        model, models, decide = self._model(), self._models(), self._decide()
        bins = self._bins()
        costs = self._costs()
        site = outputs = None
        if bins is not None:
            self._require_homes(labels or (), bins)
            site = self._site(bins, costs)
            outputs = self._outputs([bin_.name for bin_ in bins])
        sensors = self._sensors(outputs, bins)
        events = self._table("events", _EventsTable) or _EventsTable()
        events_path = self._events_path(events, environ)
        dashboard = self._dashboard()
        if self._problems or site is None or outputs is None or events_path is None:
            order = [*self._document, *SECTIONS]
            raise ConfigError([text for _, text in sorted(self._problems, key=lambda told: order.index(told[0]))])
        return Config(
            file=self._file,
            camera=camera,
            gate=gate,
            model=model,
            decide=decide,
            site=site,
            contamination=costs.contamination,
            missed=costs.missed,
            outputs=outputs,
            events_path=events_path,
            keep_unsure=events.keep_unsure,
            models=models,
            dashboard=dashboard,
            sensors=sensors,
            spot_check_rate=events.spot_check_rate,
        )

    def _camera(self) -> CameraConfig:
        table = self._table("camera", _CameraTable) or _CameraTable()
        kinds = [re.split(r"[:\[]", form)[0] for form in CAMERAS]
        kind = table.source.partition(":")[0]
        if kind not in kinds:
            near = get_close_matches(kind, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self._say("camera", f"[camera].source is {table.source!r}, expected one of {', '.join(CAMERAS)}{hint}")
        low, high = _SIZE_PX
        size_px = table.size_px
        if len(size_px) != 2 or not all(low <= side <= high for side in size_px):
            self._say("camera", f"[camera].size_px is {list(size_px)}, expected [width, height], each {low} to {high}")
            size_px = CameraConfig().size_px
        self._range("camera", "rate_hz", table.rate_hz, _RATE_HZ)
        region = self._region(table.region, size_px)
        return CameraConfig(self._absolute_source(table.source), (size_px[0], size_px[1]), table.rate_hz, region)

    def _region(self, region: tuple[int, ...] | None, size_px: tuple[int, ...]) -> tuple[int, int, int, int] | None:
        if region is None:
            return None
        if len(region) != 4 or min(region[:2]) < 0 or min(region[2:]) < LEAST_REGION_PX:
            expected = f"[x, y, width, height] in px, x and y from 0, width and height from {LEAST_REGION_PX}"
            self._say("camera", f"[camera].region is {list(region)}, expected {expected}")
            return None
        x, y, width, height = region
        if x + width > size_px[0] or y + height > size_px[1]:
            room = f"a place inside the picture of {size_px[0]} x {size_px[1]} px"
            self._say("camera", f"[camera].region is {list(region)}, expected {room}; make it smaller or raise size_px")
        return x, y, width, height

    def _model(self) -> ModelConfig:
        table = self._table("model", _ModelTable) or _ModelTable()
        self._range("model", "threads", table.threads, _THREADS)
        return ModelConfig(None if table.path is None else self._absolute("model.path", table.path), table.threads)

    def _models(self) -> ModelsConfig:
        table = self._table("models", _ModelsTable) or _ModelsTable()
        return ModelsConfig(
            self._absolute("models.store", table.store), self._absolute("models.signers", table.signers)
        )

    def _decide(self) -> DecideConfig:
        table = self._table("decide", DecideConfig) or DecideConfig()
        self._range("decide", "accept_prob", table.accept_prob, (0.0, 1.0))
        self._range("decide", "min_frames", table.min_frames, _FRAMES)
        self._range("decide", "max_frames", table.max_frames, _FRAMES)
        if table.min_frames is not None and table.max_frames is not None and table.max_frames < table.min_frames:
            self._say(
                "decide",
                f"[decide].max_frames is {table.max_frames}, expected at least min_frames ({table.min_frames})",
            )
        return table

    def _bins(self) -> tuple[Bin, ...] | None:
        rows = self._document.get("bin", [])
        if not isinstance(rows, list):
            self._say("bin", "[bin] is one table, expected a list: write [[bin]] before each bin")
            return None
        if not rows:
            return DEFAULT_SITE.bins
        bins: list[Bin] = []
        for number, row in enumerate(rows, start=1):
            place = f"[[bin]] {number}"
            table = self._build(f"{self._file}: {place}", "bin", _BinTable, row)
            if table is None:
                continue
            if not table.name.strip():
                self._say("bin", f"{place}.name is {table.name!r}, expected a name for people to read")
            if not table.takes and not table.residual:
                self._say("bin", f"{place}.takes is empty, expected the materials that go into {table.name!r}")
            bins.append(Bin(table.name, frozenset(table.takes), table.residual))
        # A bin that cannot be read would be missed everywhere: one problem, not five.
        return tuple(bins) if len(bins) == len(rows) else None

    def _require_homes(self, labels: Sequence[str], bins: tuple[Bin, ...]) -> None:
        taken = {material for bin_ in bins for material in bin_.takes}
        for label in labels:
            if label not in taken:
                # More materials than this model knows are fine: another model may know them.
                near = get_close_matches(label, sorted(taken.difference(labels)), n=1)
                cure = f"is {near[0]!r} a typing error?" if near else "add it to the takes of a bin"
                self._say("bin", f"[[bin]]: material {label!r} of the model has no bin; {cure}")

    def _costs(self) -> _CostsTable:
        table = self._table("costs", _CostsTable) or _CostsTable()
        self._range("costs", "contamination", table.contamination, _COST)
        self._range("costs", "missed", table.missed, _COST)
        return table

    def _site(self, bins: tuple[Bin, ...], costs: _CostsTable) -> Site | None:
        try:
            site = Site(bins)
        except ConfigError as exc:
            for problem in exc.problems:
                self._say("bin", problem)
            return None
        given = {name: getattr(costs, name) for name in ("contamination", "missed")}
        try:
            return replace(site, costs=replace(site.costs, **{k: v for k, v in given.items() if v is not None}))
        except ConfigError:
            return None  # told by _costs already

    def _outputs(self, bins: Sequence[str]) -> OutputsConfig | None:
        table = self._document.get("outputs")
        if table is None and "bin" not in self._document:
            # Bins and wiring belong together: whoever changes neither has the built-in ones.
            table = _read_toml(REFERENCE_BUILDS[0])["outputs"]
        if not isinstance(table, dict):
            copies = ", ".join(map(str, REFERENCE_BUILDS))
            wanted = f"expected the wiring of the bins; copy it from one of {copies}"
            self._say("outputs", f"[outputs] is missing or no table, {wanted}")
            return None
        try:
            return parse_outputs(table, str(self._file), bins)
        except ConfigError as exc:
            self._problems += [("outputs", problem) for problem in exc.problems]
            return None

    def _sensors(self, outputs: OutputsConfig | None, bins: Sequence[Bin] | None) -> SensorsConfig | None:
        if "sensors" not in self._document or outputs is None or bins is None:
            return None
        try:
            return parse_sensors(self._document["sensors"], str(self._file), [bin_.name for bin_ in bins], outputs)
        except ConfigError as exc:
            self._problems += [("sensors", problem) for problem in exc.problems]
            return None

    def _dashboard(self) -> DashboardConfig | None:
        if "dashboard" not in self._document:
            return None
        try:
            return parse_dashboard(self._document["dashboard"], str(self._file))
        except ConfigError as exc:
            self._problems += [("dashboard", problem) for problem in exc.problems]
            return None

    def _events_path(self, table: _EventsTable, environ: Mapping[str, str]) -> Path | None:
        self._range("events", "spot_check_rate", table.spot_check_rate, (0.0, 1.0))
        if not 0 <= table.keep_unsure <= MOST_UNSURE:
            self._say("events", f"[events].keep_unsure is {table.keep_unsure}, expected 0 to {MOST_UNSURE} pictures")
        if table.path is not None:
            return self._absolute("events.path", table.path)
        try:
            return state_dir(environ) / "events.db"
        except ConfigError as exc:
            self._say("events", str(exc))
            return None

    # ------------------------------------------------------------------------------------------ values

    def _table(self, section: str, kind: type[T]) -> T | None:
        if section not in self._document:
            return None
        return self._build(f"{self._file}: [{section}]", section, kind, self._document[section])

    def _build(self, where: str, section: str, kind: type[T], table: object) -> T | None:
        problems: list[str] = []
        try:
            return build(kind, table, where, problems)
        except ConfigError as exc:
            problems += [f"{self._file}: {problem}" for problem in exc.problems]
            return None
        finally:
            self._problems += [(section, problem) for problem in problems]

    def _range(self, section: str, key: str, value: float | None, between: tuple[float, float]) -> None:
        low, high = between
        if value is not None and not low <= value <= high:
            self._say(section, f"[{section}].{key} is {value}, expected {low:g} to {high:g}")

    def _say(self, section: str, problem: str) -> None:
        self._problems.append((section, f"{self._file}: {problem}"))

    def _absolute(self, place: str, path: str) -> Path:
        """The path that stands at `place`, such as `events.path`, made absolute."""
        try:
            return self._file.absolute().parent / Path(path).expanduser()
        except RuntimeError:
            section, key = place.split(".")
            self._say(section, f"[{section}].{key} is {path!r}, expected a user that exists after the ~")
            return Path(path)

    def _absolute_source(self, source: str) -> str:
        """The spec of a camera with the path in it made absolute."""
        return re.sub(
            r"^((?:dir|video|replay):|sim:(?:.*,)?items=)(.+?)((?:,[a-z_]+=[^,/]*)*)$",
            lambda found: f"{found[1]}{self._absolute('camera.source', found[2])}{found[3]}",
            source,
        )
