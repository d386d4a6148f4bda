"""Simulated bins with random faults are calibrated: each is cured or named, and sound bins raise none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.calibrate.session import STEPS, Nobody, Ready, Session
from device.calibrate.simulated import SimulatedBench
from device.calibrate.speed import check_speed
from device.calibrate.step import Place, Shown, StepResult
from device.calibration import Calibration, apply, load_calibration
from device.camera.frame import Frame
from device.camera.locks import AUTOMATIC, Locks
from device.config import REFERENCE_BUILDS, load_config
from device.config_types import Config
from device.errors import CalibrationError, UsageError
from device.looks import find_looks
from device.outputs import DiverterOutputs, FlapOutputs
from device.simulator.faults import SOUND, Faults
from device.simulator.scene import Scene

RATE_HZ = 8.0
SIZE_PX = (640, 480)
NAMES = ("colour", "camera", "region", "empty", "flaps")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    built = load_config(next(path for path in REFERENCE_BUILDS if path.stem == "flaps"))
    camera = replace(built.camera, source="sim", rate_hz=RATE_HZ, size_px=SIZE_PX)
    return replace(built, camera=camera, events_path=tmp_path / "state" / "events.db")


def session_of(config: Config, faults: Faults = SOUND, seed: int = 1, base: Locks = AUTOMATIC) -> Session:
    return Session(SimulatedBench(config, seed=seed, faults=faults, base=base), config, wall=lambda: 1_790_000_000.0)


def found_by(session: Session, names: tuple[str, ...] = NAMES) -> tuple[list[str], list[str], list[bool]]:
    results = [session.run(name) for name in names]
    found = [each for result in results for each in result.found]
    return found, [each for result in results for each in result.cured], [result.ok for result in results]


@pytest.mark.parametrize("seed", [3, 8, 11])
def test_a_sound_bin_raises_no_alarm_and_stays_as_it_is(config: Config, seed: int) -> None:
    session = session_of(config, seed=seed)
    assert found_by(session) == ([], [], [True] * len(NAMES))
    assert apply(config, session.calibration) == config


@pytest.mark.parametrize("seed", [2, 5, 9])
def test_wrong_colours_and_knocked_cameras_and_servos_are_cured(config: Config, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flap = config.site.bins[int(rng.integers(len(config.site.bins)))].name
    view = Faults(far=0.72)
    region = view.box_px(Scene(seed, SIZE_PX).tray_px, SIZE_PX)
    config = replace(config, camera=replace(config.camera, region=region))
    severity = float(rng.uniform(0.15, 0.6)) * (1 if seed % 2 else -1)
    faults = Faults(severity, bool(seed % 2), 0.72, float(rng.uniform(0.05, 0.12)), 0.0, frozenset({flap}))
    session = session_of(config, faults, seed)
    found, cured, ok = found_by(session)
    expected = [*(["red_blue"] if faults.swapped else []), "white_balance", "region", f"servo:{flap}"]
    assert (found, cured, ok) == (expected, expected, [True] * len(NAMES))

    # Again, on a bin that goes by what was found: nothing is left.
    session.save()
    again = session_of(config, faults, seed, base=session.calibration.locks)
    assert found_by(again)[0] == []
    calibrated = apply(config, again.calibration)
    assert isinstance(calibrated.outputs, FlapOutputs)
    assert isinstance(config.outputs, FlapOutputs)
    pulses = {each.name: each.rest_us for each in calibrated.outputs.flaps}
    assert pulses[flap] == config.outputs.open_us[flap]
    x, y, w, h = calibrated.camera.region or (0, 0, 0, 0)
    tray = faults.box_px(Scene(seed, SIZE_PX).tray_px, SIZE_PX)
    assert x < tray[0]
    assert y < tray[1]
    assert x + w > tray[0] + tray[2]
    assert y + h > tray[1] + tray[3]


@pytest.mark.parametrize("blur", [2.0, 5.0])
def test_a_blurred_lens_is_named_for_a_person_to_wipe(config: Config, blur: float) -> None:
    session = session_of(config, Faults(blur=blur))
    result = session.run("camera")
    assert (result.ok, result.found, result.cured) == (False, ("blur",), ())
    assert "clean the lens" in result.sentence


def test_grey_is_within_two_per_cent_after_the_cure(config: Config) -> None:
    session = session_of(config, Faults(white_balance=-0.5, swapped=True))
    session.run("colour")
    second = session.run("colour")
    assert second.found == ()
    assert float(second.figures["cast"]) < 0.02


def test_a_tray_whose_colours_had_to_be_put_right_far_is_still_learnt_though_it_is_noisy(config: Config) -> None:
    region = (206, 110, 371, 332)
    config = replace(config, camera=replace(config.camera, rate_hz=10.0, region=region))
    session = session_of(config, Faults(white_balance=-0.575, far=0.72, shift=0.11), seed=25)
    assert session.run("colour").cured == ("white_balance",)
    assert session.run("empty").found == ()


def test_a_step_is_undone_alone_and_what_others_found_stays(config: Config) -> None:
    session = session_of(config, Faults(white_balance=0.4, reversed=frozenset({"Glass"})))
    session.run("colour")
    session.run("flaps")
    assert session.undo("colour").ok
    assert session.calibration.locks == AUTOMATIC
    assert list(session.calibration.pulses_us) == ["Glass"]
    assert list(session.calibration.done) == ["flaps"]
    session.undo("flaps")
    session.undo("camera")
    assert replace(session.calibration, camera="") == Calibration()


def test_the_steps_are_these_and_no_other(config: Config) -> None:
    assert [step.name for step in STEPS] == [
        "colour",
        "camera",
        "region",
        "empty",
        "flaps",
        "lights",
        "speed",
        "looks",
    ]
    session = session_of(config)
    for order in (session.run, session.undo):
        with pytest.raises(UsageError, match="no step 'colours'"):
            order("colours")


def test_what_needs_a_person_is_left_as_it_is_where_nobody_is_there_and_that_is_said(config: Config) -> None:
    bench = SimulatedBench(config, seed=1, faults=Faults(white_balance=0.5))
    session = Session(bench, config, Nobody())
    said = {name: session.run(name).sentence for name in ("colour", "region")}
    assert said["colour"].startswith("not looked at: nobody shows the card")
    assert said["region"].startswith("not looked at: nobody lays the card")
    assert apply(config, session.calibration).camera == config.camera


def test_a_drawn_region_is_taken_and_one_outside_the_picture_is_not(config: Config) -> None:
    session = session_of(config)
    assert session.run("region", region=(10, 20, 300, 200)).ok
    assert session.calibration.region == (10, 20, 300, 200)
    refused = session.run("region", region=(500, 20, 300, 200))
    assert (refused.ok, refused.found) == (False, ("region",))
    assert session.calibration.region == (10, 20, 300, 200)


@pytest.mark.parametrize("wanted", [300, 2600, 2000])
def test_a_flap_is_given_no_end_that_no_servo_takes_and_never_one_for_both(config: Config, wanted: int) -> None:
    class Wanting(SimulatedBench):
        def number(self, question: str, default: int) -> int:
            return wanted if default == 1000 else default

    session = Session(Wanting(config, seed=1), config)
    assert session.run("flaps", flap="Glass").found == ("limits:Glass",)
    assert session.calibration.pulses_us == {}
    assert session.run("flaps", flap="Gloss").found == ("flap",)


def test_a_person_jogs_a_flap_step_by_step_until_its_ends_are_right(config: Config) -> None:
    answers = iter([950, 900, 900, 2050, 2050])
    moves: list[int | None] = []

    class Watched(SimulatedBench):
        def pulse(self, name: str, pulse_us: int | None) -> None:
            moves.append(pulse_us)

        def number(self, question: str, default: int) -> int:
            assert question.startswith("Glass: pulse of the ")
            return next(answers)

        def show(self, what: Shown) -> bool:
            return what is not Shown.ITEM and super().show(what)

    session = Session(Watched(config, seed=1), config)
    assert session.run("flaps", flap="Glass").ok
    assert session.calibration.pulses_us == {"Glass": (900, 2050)}
    # Jogged to each, then closed, opened for a look, and closed again; the pulses off after every move.
    assert moves == [950, None, 900, None, 2050, None, 900, None, 2050, None, 900, None]
    assert list(answers) == []


def test_a_diverter_is_turned_and_tipped_to_a_bin_and_levelled_before_it_turns_back(config: Config) -> None:
    built = load_config(next(path for path in REFERENCE_BUILDS if path.stem == "diverter")).outputs
    assert isinstance(built, DiverterOutputs)
    config = replace(config, outputs=built)
    pan_us, tilt_us = built.positions_us["Glass"]
    moves: list[tuple[str, int | None]] = []
    seen: list[bool | None] = [True, False, None]

    class Watched(SimulatedBench):
        def pulse(self, name: str, pulse_us: int | None) -> None:
            moves.append((name, pulse_us))

        def number(self, question: str, default: int) -> int:
            return pan_us + 40 if question.startswith("Glass: pulse of the pan servo") else default

        def tell(self, question: str) -> bool | None:
            assert question == "Glass: does the tray tip into this bin?"
            return seen.pop(0)

    session = Session(Watched(config, seed=1), config)
    assert session.run("flaps", flap="Glass").sentence == f"Glass: now {pan_us + 40} and {tilt_us} µs"
    assert session.calibration.positions_us == {"Glass": (pan_us + 40, tilt_us)}
    assert session.calibration.pulses_us == {}
    assert [move for move in moves if move[1] is not None] == [
        *(("pan", pan_us), ("pan", pan_us + 40), ("tilt", tilt_us)),
        *(("tilt", built.tilt.rest_us), ("pan", built.pan.rest_us)),
    ]
    assert moves[1::2] == [("pan", None), ("pan", None), ("tilt", None), ("tilt", None), ("pan", None)]
    assert session.run("flaps", flap="Glass").found == ("servo:Glass",)
    assert session.run("flaps", flap="Glass").sentence == "moved; nobody looked where"
    assert session.undo("flaps").ok
    assert session.calibration.positions_us == {}


class DeadFlaps(SimulatedBench):
    """Its servos are not plugged in."""

    def pulse(self, name: str, pulse_us: int | None) -> None:
        pass


class HandInView(SimulatedBench):
    """Somebody's hand never leaves."""

    def show(self, what: Shown) -> bool:
        return super().show(Shown.HAND)


def test_a_flap_that_does_not_move_is_named(config: Config) -> None:
    result = Session(DeadFlaps(config, seed=1), config).run("flaps", flap="Glass")
    assert (result.ok, result.found, result.cured) == (False, ("servo:Glass",), ())


def test_no_flap_moves_while_something_moves_in_view(config: Config) -> None:
    bench = HandInView(config, seed=1)
    bench.show(Shown.HAND)
    with pytest.raises(CalibrationError, match="something moves in view"):
        Session(bench, config).run("flaps", flap="Glass")


def test_every_move_ends_with_the_pulses_off(config: Config) -> None:
    told: dict[str, int | None] = {}

    class Watched(SimulatedBench):
        def pulse(self, name: str, pulse_us: int | None) -> None:
            told[name] = pulse_us
            super().pulse(name, pulse_us)

    session = Session(Watched(config, seed=1), config)
    session.run("flaps")
    assert set(told.values()) == {None}
    assert set(told) == {bin_.name for bin_ in config.site.bins}


def test_lamps_that_were_exchanged_are_told_apart_by_a_person(config: Config) -> None:
    leds = load_config(next(path for path in REFERENCE_BUILDS if path.stem == "leds"))
    config = replace(config, outputs=leds.outputs)
    names = [led.name for led in leds.outputs.leds]  # type: ignore[union-attr]
    pins = [led.pin_bcm for led in leds.outputs.leds]  # type: ignore[union-attr]
    wrong = {names[0]: names[1], names[1]: names[0]}
    bench = SimulatedBench(config, seed=1)

    class Eyes(Ready):
        def tell(self, question: str) -> bool | None:
            (lit,) = [name for name, is_on in bench.lit.items() if is_on]
            return question == f"is the lamp of {wrong.get(lit, lit)} lit?"

    session = Session(bench, config, Eyes())
    result = session.run("lights")
    assert result.cured == (f"led:{names[0]}", f"led:{names[1]}")
    assert session.calibration.led_pins_bcm == dict(zip(names, [pins[1], pins[0], *pins[2:]], strict=True))
    assert not any(bench.lit.values())
    again = session.run("lights")
    assert (again.found, again.sentence) == ((), "right: each lamp is its own bin's")
    assert session.calibration.led_pins_bcm[names[0]] == pins[1]
    wrong = dict.fromkeys(names, "nobody's")
    dark = session.run("lights")
    assert (dark.ok, dark.found) == (False, ("lights",))
    assert dark.sentence.startswith(f"no pin lights the lamp of {names[0]}")
    assert "nobody said" in Session(bench, config).run("lights").sentence


@pytest.mark.parametrize(
    ("ms", "threads", "rate_hz", "found"),
    [
        ({"gate": 2.0, "int8:1": 20.0, "float32:1": 30.0}, 1, 8.0, ()),
        ({"gate": 2.0, "int8:1": 70.0, "int8:2": 40.0, "float32:2": 60.0}, 2, 8.0, ()),
        ({"gate": 10.0, "int8:1": 130.0, "int8:2": 120.0}, 1, 5.0, ("slow",)),
        ({"gate": 10.0, "int8:1": 900.0}, 1, 2.0, ("slow",)),
    ],
)
def test_threads_and_rate_are_those_that_this_machine_carries(
    config: Config, ms: dict[str, float], threads: int, rate_hz: float, found: tuple[str, ...]
) -> None:
    bench = SimulatedBench(config, seed=1)
    result, calibration = check_speed(Place(bench, bench, config, Calibration()), cost=lambda _: ms)
    assert (calibration.threads, calibration.rate_hz, result.found) == (threads, rate_hz, found)


def test_looks_are_kept_with_the_name_that_a_person_gave(config: Config) -> None:
    session = session_of(config)
    folder = config.events_path.with_name("looks")
    result = session.run("looks", label="metal")
    assert result.ok
    (look,) = find_looks(folder)
    assert look.label == "metal"
    assert result.picture is not None
    assert session.run("looks").figures == {"metal": 1.0}


def test_a_person_is_guided_through_looks_until_there_are_no_more_things(config: Config) -> None:
    asked: list[str] = []

    class Guided(SimulatedBench):
        def tell(self, question: str) -> bool | None:
            asked.append(question)
            return question.startswith("metal: ") and "2 of" not in question

    result = Session(Guided(config, seed=1), config).run("looks")
    assert result.figures == {"metal": 2.0}
    assert [question for question in asked if question.startswith("metal")] == [
        f"metal: {count} of 3 to 10 looks; have you one more to show?" for count in (0, 1, 2)
    ]


def test_pictures_of_a_folder_are_kept_as_looks(config: Config, tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / "items" / "glass" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((20, 20, 3), 60 * number, np.uint8))
    session = session_of(config)
    result = session.run("looks", items=tmp_path / "items")
    assert result.figures == {"glass": 3.0}
    assert result.sentence.startswith("3 pictures kept")
    cv2.imwrite(str(tmp_path / "items" / "stray.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UsageError, match="not inside a class folder"):
        session.run("looks", items=tmp_path / "items")


def test_a_tray_that_somebody_calls_grey_stands_in_for_the_card(config: Config) -> None:
    # Bin 6 has a grey metal floor; a coloured tray is nobody's business.
    asked: list[str] = []

    class Grey(Ready):
        def tell(self, question: str) -> bool | None:
            asked.append(question)
            return True

    bench = SimulatedBench(config, seed=6, faults=Faults(white_balance=0.4))
    session = Session(bench, config, Grey(lambda what: what is not Shown.CARD))
    result = session.run("colour")
    assert asked == ["is the empty tray grey, white or bare metal?"]
    assert result.found == ("white_balance",)
    assert "no card" in result.sentence


def frames(bench: SimulatedBench, change: Callable[[Frame], Frame]) -> Callable[[int], Iterator[Frame]]:
    look = bench.look
    return lambda count: (change(frame) for frame in look(count))


def test_a_flickering_lamp_and_a_dark_picture_are_named(config: Config) -> None:
    bench = SimulatedBench(config, seed=1)
    bench.look = frames(  # type: ignore[method-assign]
        bench, lambda frame: replace(frame, rgb=(frame.rgb * (0.1 + 0.05 * (frame.number % 2))).astype(np.uint8))
    )
    result = Session(bench, config).run("camera")
    assert set(result.found) >= {"flicker", "light"}
    assert not result.ok


def test_what_a_step_found_is_json_and_kept_with_its_time(config: Config) -> None:
    session = session_of(config)
    result = session.run("empty")
    assert json.loads(json.dumps(result.fields()))["step"] == "empty"
    session.save()
    kept, note = load_calibration(config.events_path.parent)
    assert note is None
    assert kept.done["empty"].at == "2026-09-21T14:13:20Z"
    assert kept.done["empty"].sentence == result.sentence
    assert isinstance(result, StepResult)
