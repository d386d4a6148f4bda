"""Behind the guard: every route without a token, forged names and origins, bodies that are too long, and the API."""

import json
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from asgi import Got, ask
from bundles import make_bundle

from device.camera.frame import Frame, Rgb
from device.config import load_config
from device.config_dashboard import DashboardConfig
from device.drive import Phase
from device.event_reader import read_corrections
from device.events import Event, EventLog
from device.gate import TrayState
from device.learner import LearntView
from device.lend import Lender
from device.looks import find_looks, keep_look, looks_folder
from device.model import Model
from device.run import load_model
from device.status import Decided, State, Status
from device.web.answers import Ask
from device.web.app import make_app
from device.web.desk import Desk
from device.web.items import items_api
from device.web.scene import Scene
from device.web.settings_api import settings_api
from device.web.streams import MOST_STATUS, MOST_VIDEO, Streams
from device.web.wire import Dashboard

UNSAFE = {"x-wastebin": "1"}
PROBS = {"glass": 0.9, "metal": 0.06, "paper": 0.04}


class Engine:
    def __init__(self, model: Model) -> None:
        self.model = model


class Keeper:
    def __init__(self) -> None:
        self.crops: dict[int, Rgb] = {}

    def crop(self, event: int) -> Rgb | None:
        return self.crops.get(event)


class Learner:
    def __init__(self) -> None:
        self.seen = LearntView()

    def view(self) -> LearntView:
        return self.seen

    def learn(self) -> LearntView:
        self.seen = LearntView("1-0123456789ab", {"glass": 3}, 3, 0.5, 1.0, at="2026-11-23T10:00:00.000+00:00")
        return self.seen

    def revoke(self) -> LearntView:
        self.seen = LearntView()
        return self.seen


class Web:
    """A dashboard without a socket, and what lies behind it."""

    def __init__(self, folder: Path, log: EventLog) -> None:
        make_bundle(folder / "bundle")
        config = load_config(None, environ={"HOME": str(folder)})
        self.config = replace(config, events_path=folder / "events.db")
        self.folder = folder
        self.keeper, self.learner, self.log, self.scene = Keeper(), Learner(), log, Scene((10, 10, 40, 30))
        model, _ = load_model(self.config, folder / "bundle")
        self.desk = Desk(
            config=self.config, site=self.config.site, scene=self.scene, engine=Engine(model), keeper=self.keeper,
            log=log, learner=self.learner, lender=Lender(self.config, camera="sim", pins="mock"),
            store=None, model_path=lambda: folder / "bundle", camera="sim", pins="mock",
            wall=time.time,
        )  # fmt: skip
        self.dashboard = Dashboard(self.desk, DashboardConfig(hosts=("bin.example",)))
        self.app = self.dashboard.app
        self.token = self.dashboard.tokens.make(wall_s=1_790_000_000.0)
        self.cookie: dict[str, str] = {}

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = b"") -> Got:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        unsafe = {} if method == "GET" else UNSAFE
        return ask(self.app, method, path, {**unsafe, **self.cookie, **(headers or {})}, data)

    def log_in(self) -> "Web":
        got = self.ask("POST", "/api/login", body={"token": self.token})
        assert got.status == 200
        self.cookie = {"cookie": got.headers["set-cookie"].partition(";")[0]}
        return self

    def decide(self, label: str = "glass", *, accepted: bool = True) -> int:
        event = self.log.add(
            Event("decision", "" if accepted else "unsure", label=label, prob=0.9, probs=PROBS, accepted=accepted,
                  bin="Glass" if accepted else "Trash", frames=2, decision_ms=90.0, model_version="1-a")
        )  # fmt: skip
        self.keeper.crops[event] = np.full((40, 60, 3), (200, 10, 10), np.uint8)
        self.log.flush()
        return event

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.startswith("events.db")
        }


@pytest.fixture
def web(tmp_path: Path) -> Iterator["Web"]:
    with EventLog(tmp_path / "events.db", batch_s=0.01) as log:
        yield Web(tmp_path, log)


def status(number: int = 1, *, decided: Decided | None = None, vote: Mapping[str, float] | None = None) -> Status:
    return Status(
        state=State.VOTING,
        tray=TrayState.ITEM,
        at_s=1.0,
        frame_number=number,
        box=(5, 6, 20, 10),
        motion=0.0,
        foreground=0.1,
        vote=dict(vote or {}),
        vote_frames=1 if vote else 0,
        decided=decided,
        last=decided,
        phase=Phase.PARKED,
        outputs={"Glass": None},
        counts={"Glass": 2},
        jams=0,
        fps=15.04,
        classify_ms=10.26,
        model="1-a",
    )


def frame(number: int = 1) -> Frame:
    return Frame(np.full((48, 64, 3), (200, 30, 10), np.uint8), 1.0, number)


PUBLIC = {"/", "/api/login", "/api/session"}


def routes(web: Web) -> list[tuple[str, str]]:
    """Every route, with something in the place of what varies."""
    found = [
        (method, route.path.replace("{event}", "1").replace("{step}", "camera"))  # type: ignore[attr-defined]
        for route in web.dashboard.routes
        for method in sorted(route.methods - {"HEAD"})  # type: ignore[attr-defined]
    ]
    assert len(found) > 20
    return found


def test_no_route_but_the_page_and_the_login_answers_without_a_token(web: Web):
    web.decide()
    closed = [(method, path) for method, path in routes(web) if path not in PUBLIC and not path.startswith("/static/")]
    assert {("GET", "/live.mjpeg"), ("GET", "/api/items/1/picture.jpg"), ("POST", "/api/photo")} <= set(closed)
    before = web.files()
    for method, path in closed:
        for cookie in ({}, {"cookie": "wastebin="}, {"cookie": "wastebin=1900000000.aa.bb"}):
            assert web.ask(method, path, cookie, b"{}").status == 401, (method, path)
    assert web.files() == before
    assert read_corrections(web.config.events_path) == []


def test_an_unknown_path_tells_nothing_without_a_token(web: Web):
    for path in (
        "/api/nothing",
        "/etc/passwd",
        "/static/../../etc/passwd",
        "/static/..%2f..%2fdashboard.json",
        "/.git",
    ):
        assert web.ask("GET", path).status == 401
    web.log_in()
    for path in ("/api/nothing", "/static/../token.py", "/static/%2e%2e/token.py", "//etc/passwd", "/static/"):
        assert web.ask("GET", path).status == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "bin.example.evil.example",
        "192.0.2.1",
        "",
        "a b",
        "[::1]",
        "127.0.0.1@evil.example",
        "localhost.evil.example",
    ],
)
def test_a_forged_host_is_refused_everywhere(web: Web, host: str):
    web.log_in()
    for method, path in routes(web):
        unsafe = {} if method == "GET" else UNSAFE
        assert ask(web.app, method, path, {**unsafe, **web.cookie}, host=host).status == 403, path


def test_no_host_and_two_hosts_are_refused(web: Web):
    assert ask(web.app, "GET", "/", host=None).status == 403
    assert ask(web.app, "GET", "/", {"Host": "127.0.0.1:8080", "host": "evil.example"}, host=None).status == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "127.0.0.1", "localhost:8080", "LOCALHOST", "bin.example", "BIN.example.:80"]
)
def test_the_bins_own_names_are_known(web: Web, host: str):
    assert ask(web.app, "GET", "/", host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8081"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:8080.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_another_sites_page_sends_is_refused_even_with_the_cookie(web: Web, headers: dict[str, str]):
    event = web.log_in().decide()
    before = web.files()
    for method, path in routes(web):
        if method == "POST":
            assert web.ask(method, path, headers, b'{"label": "metal"}').status == 403, path
    assert web.ask("GET", "/api/items", headers).status == 403
    assert web.ask("POST", f"/api/items/{event}/was", {**headers, "x-wastebin": "1"}, {"label": "metal"}).status == 403
    assert (web.files(), read_corrections(web.config.events_path)) == (before, [])


def test_a_plain_form_cannot_change_anything(web: Web):
    event = web.log_in().decide()
    form = {"content-type": "text/plain", "x-wastebin": "", "origin": "http://127.0.0.1:8080"}
    assert web.ask("POST", f"/api/items/{event}/was", form, {"label": "metal"}).status == 403
    assert read_corrections(web.config.events_path) == []


def test_every_answer_carries_the_headers_that_shut_others_out(web: Web):
    for path, code in (("/", 200), ("/api/items", 401), ("/static/app.js", 200)):
        got = web.ask("GET", path)
        assert got.status == code
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in got.headers


def test_the_page_has_no_inline_script_or_style_and_asks_nobody_else(web: Web):
    names = [path for _, path in routes(web) if path == "/" or path.startswith("/static/")]
    bodies = {path: web.ask("GET", path).body.decode() for path in names}
    assert sum(len(body.encode()) for body in bodies.values()) < 300_000
    for path, body in bodies.items():
        found = [word for word in ("https://", "@import", "eval(", "innerHTML", "document.write") if word in body]
        assert found == [], path
    assert "<style" not in bodies["/"]
    assert "onclick=" not in bodies["/"]
    assert bodies["/"].count("<script") == bodies["/"].count('<script type="module" src="/static/')


def test_a_page_that_has_not_changed_is_not_sent_again(web: Web):
    first = web.ask("GET", "/static/app.js")
    again = web.ask("GET", "/static/app.js", {"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_login_sets_a_cookie_that_scripts_and_other_sites_cannot_use(web: Web):
    assert web.ask("GET", "/api/session").table == {"open": False, "token": True}
    got = web.ask("POST", "/api/login", body={"token": web.token})
    words = {word.strip().lower() for word in got.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= words
    assert web.log_in().ask("GET", "/api/session").table == {"open": True, "token": True}
    assert "wastebin=" in web.ask("POST", "/api/logout").headers["set-cookie"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": ""}', b"\xff\xfe", b"[" * 900])
def test_a_login_without_sense_is_refused(web: Web, body: bytes):
    assert web.ask("POST", "/api/login", body=body).status == 400


def test_the_wrong_token_is_refused_and_a_thousand_a_minute_are_told_to_wait(web: Web):
    wrong = {"token": "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a"}
    assert web.ask("POST", "/api/login", body=wrong).status == 401
    found = [web.ask("POST", "/api/login", body={"token": "x"}).status for _ in range(50)]
    assert (set(found), found.count(401) < 10) == ({401, 429}, True)
    last = web.ask("POST", "/api/login", body={"token": web.token})
    assert (last.status, int(last.headers["retry-after"]) > 0) == (429, True)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(web: Web):
    web.log_in()
    for path, most in (("/api/items/1/was", 16 * 1024), ("/api/photo", 8 * 2**20), ("/api/login", 1024)):
        assert web.ask("POST", path, {"content-length": str(most + 1)}, b"x").status == 413
        assert web.ask("POST", path, {"content-length": "-1"}, b"x").status == 413
        assert web.ask("POST", path, {"content-length": "1"}, b"x" * (most + 1)).status == 413


def test_items_come_newest_first_with_what_a_person_may_say(web: Web):
    first, second = web.log_in().decide(), web.decide(accepted=False)
    got = web.ask("GET", "/api/items").table
    assert [item["event"] for item in got["items"]] == [second, first]
    assert got["unsure"] == [second]
    assert {entry["label"]: entry["bin"] for entry in got["labels"]} == {
        "glass": "Glass", "metal": "Metal", "paper": "Paper", "cardboard": "Paper", "organic": "Organic",
        "plastic": "Plastic", "trash": "Trash",
    }  # fmt: skip
    assert got["items"][1] == {
        "event": first, "at": got["items"][1]["at"], "label": "glass", "prob": 0.9, "probs": PROBS, "accepted": True,
        "reason": "", "bin": "Glass", "ms": 90.0, "was": None, "landed": None, "wrong": False, "asked": False,
        "picture": True,
    }  # fmt: skip


def test_one_tap_says_what_it_was_and_a_second_one_mends_it(web: Web):
    event = web.log_in().decide()
    assert web.ask("POST", f"/api/items/{event}/was", body={"label": "metal"}).table == {"event": event, "was": "metal"}
    web.ask("POST", f"/api/items/{event}/was", body={"label": "paper"})
    assert [(each.event_id, each.label) for each in read_corrections(web.config.events_path)] == [(event, "paper")]
    assert web.ask("GET", "/api/items").table["items"][0]["was"] == "paper"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/items/999/was", {"label": "metal"}),
        ("/api/items/1/was", {"label": "gold"}),
        ("/api/items/1/was", {}),
        ("/api/items/x/was", {"label": "metal"}),
        ("/api/items/-1/was", {"label": "metal"}),
        ("/api/items/1/was", {"label": ["metal"]}),
        ("/api/items/1/check", {"label": "metal"}),
        ("/api/items/1/was", {"label": "m" * 999}),
        ("/api/items/٣/was", {"label": "metal"}),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(web: Web, path: str, body: object):
    web.log_in().decide()
    got = web.ask("POST", path, body=body)
    assert got.status == 400
    assert len(got.table["error"]) > 10
    assert read_corrections(web.config.events_path) == []


def test_a_spot_check_is_answered_once_and_is_no_correction_when_it_was_right(web: Web):
    event = web.log_in().decide()
    web.log.add(Event("asked", "was it right?", prob=0.1, about=event))
    web.log.flush()
    assert web.ask("GET", "/api/items").table["items"][0]["asked"] is True
    assert web.ask("POST", f"/api/items/{event}/check", body={"label": "glass"}).status == 200
    item = web.ask("GET", "/api/items").table["items"][0]
    assert (item["asked"], item["was"]) == (False, None)
    assert web.ask("GET", "/api/figures").table["accuracy"]["n"] == 1


def test_a_picture_comes_from_memory_then_from_the_looks_and_else_not_at_all(web: Web):
    event = web.log_in().decide()
    path = f"/api/items/{event}/picture.jpg"
    got = web.ask("GET", path)
    assert (got.status, got.headers["content-type"], got.headers["cache-control"]) == (200, "image/jpeg", "no-store")
    rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(got.body, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert rgb.shape == (40, 60, 3)
    assert abs(rgb.mean(axis=(0, 1)) - (200, 10, 10)).max() < 6
    crop = web.keeper.crops.pop(event)
    assert web.ask("GET", path).status == 404
    web.ask("POST", f"/api/items/{event}/was", body={"label": "metal"})
    keep_look(looks_folder(web.config.events_path), "metal", f"event-{event}", crop)
    assert len(find_looks(looks_folder(web.config.events_path))) == 1
    assert web.ask("GET", path).status == 200
    assert web.ask("GET", "/api/items").table["items"][0]["picture"] is True


def test_a_bin_that_never_sorted_shows_an_empty_list(tmp_path: Path):
    with EventLog(tmp_path / "other.db") as log:
        web = Web(tmp_path, log).log_in()
        assert web.ask("GET", "/api/items").table["items"] == []
        assert web.ask("GET", "/api/figures").table == {"bins": []}
        assert web.ask("GET", "/api/health").table["events"] == []


def png(width: int, height: int, colour: tuple[int, int, int] = (30, 30, 220)) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), colour, np.uint8))[1].tobytes()


def test_a_photo_is_named_and_kept_nowhere(web: Web):
    before = web.log_in().files()
    got = web.ask("POST", "/api/photo", body=png(90, 60))
    assert (got.status, got.table["label"], got.table["bin"]) == (200, "metal", "Metal")
    assert web.ask("POST", "/api/photo", body=png(3000, 2000)).table["label"] == "metal"
    assert web.files() == before


def test_a_photo_of_a_hundred_megapixels_is_refused_by_its_header(web: Web):
    whole = png(8, 8)
    ihdr = b"IHDR" + (10_000).to_bytes(4, "big") * 2 + whole[24:29]
    bomb = whole[:12] + ihdr + zlib.crc32(ihdr).to_bytes(4, "big") + whole[33:]
    got = web.log_in().ask("POST", "/api/photo", body=bomb)
    assert got.status == 400
    assert "10000x10000" in got.table["error"]


@pytest.mark.parametrize("body", [b"", b"hello", b"GIF89a....", b"\xff\xd8\xff\xe0", png(9, 9)[:40]])
def test_what_is_no_photo_is_refused(web: Web, body: bytes):
    assert web.log_in().ask("POST", "/api/photo", body=body).status == 400


def test_health_says_what_is_known_and_nothing_else(web: Web):
    got = web.log_in().ask("GET", "/api/health").table
    assert (got["camera"], got["classify_ms"], got["fault"]) == (
        {"source": "sim", "age_s": None, "fps": None},
        None,
        None,
    )
    web.scene.frame(status(vote=PROBS), frame())
    web.scene.fault("camera: no new frame")
    got = web.ask("GET", "/api/health").table
    assert (got["camera"]["fps"], got["classify_ms"], got["fault"]) == (
        15.0,
        {"p50": 10.3, "p95": 10.3},
        "camera: no new frame",
    )


def test_the_model_page_shows_the_lab_and_the_site_and_takes_back_what_was_learnt(web: Web):
    got = web.log_in().ask("GET", "/api/model").table
    assert (got["store"], got["learnt"]["active"], got["running"]) == (None, None, got["version"])
    assert got["scores"]
    assert web.ask("POST", "/api/model/learn").table["right_after"] == 1.0
    assert web.ask("GET", "/api/model").table["learnt"]["looks"] == {"glass": 3}
    assert web.ask("POST", "/api/model/revoke").table["active"] is None
    assert web.ask("POST", "/api/model/rollback").status == 409


def test_two_do_not_change_the_model_at_once(web: Web):
    began, go_on = threading.Event(), threading.Event()

    def learn() -> LearntView:
        began.set()
        go_on.wait(30)
        return LearntView()

    web.log_in().learner.learn = learn  # type: ignore[method-assign]
    first: list[Got] = []
    thread = threading.Thread(target=lambda: first.append(web.ask("POST", "/api/model/learn")))
    thread.start()
    began.wait(30)
    assert web.ask("POST", "/api/model/revoke").status == 409
    go_on.set()
    thread.join(30)
    assert first[0].status == 200


def test_the_scene_tells_the_same_bytes_to_all_until_something_changes():
    scene = Scene((1, 2, 33, 34))
    assert json.loads(scene.facts())["state"] == "starting"
    scene.frame(status(vote={"glass": 0.66666}), frame())
    first = scene.facts()
    assert scene.facts() is first
    told = json.loads(first)
    assert (told["state"], told["vote"], told["size"], told["region"]) == (
        "voting",
        {"glass": 0.667},
        [64, 48],
        [1, 2, 33, 34],
    )
    scene.fault("trouble")
    assert json.loads(scene.facts())["fault"] == "trouble"


def test_a_scene_without_new_frames_is_paused():
    now_s = 100.0
    scene = Scene(None, lambda: now_s)
    scene.frame(status(), frame())
    assert json.loads(scene.facts())["state"] == "voting"
    now_s = 104.0
    assert json.loads(scene.facts())["state"] == "paused"
    assert scene.age_s == 4.0


def test_a_picture_is_encoded_once_for_all_and_five_times_a_second_at_most():
    now_s = 100.0
    scene = Scene(None, lambda: now_s)
    assert scene.jpeg() is None
    shown = []
    for number in range(30):  # two seconds at fifteen frames a second
        now_s = 100.0 + number / 15
        scene.frame(status(number), frame(number))
        shown += [scene.jpeg(), scene.jpeg()]
    assert 9 <= len({id(each) for each in shown}) <= 11


def test_a_fifth_viewer_is_told_to_come_later(web: Web):
    streams = Streams(web.scene)
    for most, path in ((MOST_VIDEO, "_video"), (MOST_STATUS, "_status")):
        setattr(streams, path, most)
    app, _ = make_app(web.dashboard.tokens, streams, [], {}, ())
    web.log_in()
    for path in ("/live.mjpeg", "/api/live"):
        assert ask(app, "GET", path, web.cookie).status == 429


def test_a_stream_ends_when_the_bin_stops_and_gives_its_place_back(web: Web):
    streams = Streams(web.scene)
    streams.is_closing = True
    app, _ = make_app(web.dashboard.tokens, streams, [], {}, ())
    web.log_in()
    for path in ("/live.mjpeg", "/api/live"):
        assert ask(app, "GET", path, web.cookie).status == 200
    assert (streams._video, streams._status) == (0, 0)


def test_the_items_of_the_api_are_those_of_the_app(web: Web):
    paths = {route.path for route in web.dashboard.routes}  # type: ignore[attr-defined]
    assert {path for _, path in items_api(web.desk)} <= paths


def test_the_calibration_shows_its_steps_and_refuses_what_is_not_open(web: Web):
    got = web.log_in().ask("GET", "/api/calibration").table
    assert (got["open"], got["busy"], got["question"]) == (False, None, None)
    assert [step["name"] for step in got["steps"]][:2] == ["colour", "camera"]
    before = web.files()
    for path in ("steps/camera/run", "steps/camera/undo", "save"):
        assert web.ask("POST", f"/api/calibration/{path}").status == 409
    assert web.ask("POST", "/api/calibration/answer", body={"value": True}).status == 409
    assert web.ask("POST", "/api/calibration/answer", body={"value": "yes"}).status == 400
    assert web.ask("POST", "/api/calibration/steps/nothing/run").status == 404
    for box in ([1, 2, 3], [1, 2, 3, 4.5], [1, 2, 3, True], "all", None):
        assert web.ask("POST", "/api/calibration/steps/region/run", body={"region": box}).status == 400
    assert web.ask("GET", "/api/calibration/picture.jpg").status == 404
    assert web.files() == before


def test_only_a_bin_that_somebody_starts_again_can_be_asked_to(web: Web):
    assert web.log_in().ask("GET", "/api/settings").table["can_restart"] is False
    refused = web.ask("POST", "/api/restart")
    assert (refused.status, "nobody would start this bin again" in refused.table["error"]) == (409, True)
    asked = []
    handlers = settings_api(replace(web.desk, restart=lambda: asked.append(1)))
    assert (handlers["GET", "/api/settings"](Ask())["can_restart"], asked) == (True, [])
    assert (handlers["POST", "/api/restart"](Ask()), asked) == ({"restarting": True}, [1])


def test_the_page_hears_of_a_lid_a_jam_and_a_full_bin():
    scene = Scene()
    scene.frame(replace(status(), lid_open=True, full=("Glass",), jam="item still in the tray"), frame())
    told = json.loads(scene.facts())
    assert (told["lid_open"], told["full"], told["jam"]) == (True, ["Glass"], "item still in the tray")


def test_settings_are_checked_kept_and_say_when_they_count(web: Web):
    got = web.log_in().ask("GET", "/api/settings").table
    assert (set(got["settings"].values()), got["restart"]) == ({None}, False)
    refused = web.ask("POST", "/api/settings", body={"accept_prob": 7, "missed": -1})
    assert (refused.status, len(refused.table["problems"])) == (400, 2)
    assert not (web.folder / "settings.json").exists()
    got = web.ask("POST", "/api/settings", body={"accept_prob": 0.95}).table
    assert (got["settings"]["accept_prob"], got["restart"]) == (0.95, True)
