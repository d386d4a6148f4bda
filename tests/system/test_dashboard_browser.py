"""A real browser at a running bin: first run, token, calibrate, corrections, right next time, back; also by keyboard.

Chromium is Debian's own. The screenshots stay in build/dashboard, to be looked at.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from loopback import free_port
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Response, expect, sync_playwright
from signed import make_key, members_of, sign, signer_line, tar_of

from device.bundle import factory_bundle_path
from device.calibration import load_calibration
from device.config import load_config
from device.event_reader import read_corrections, read_events
from device.looks import find_looks, looks_folder
from device.releases import ReleaseStore
from device.simulator.drawings import draw_item

pytestmark = pytest.mark.slow

SHOTS = Path(__file__).parents[2] / "build" / "dashboard"
COMMAND = (sys.executable, "-c", "from device.cli import main; main()")
DEADLINE_MS = 120_000
THING = "plastic"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
MOST_BYTES = 300_000


@dataclass
class Bin:
    """A bin in a process of its own, with a model that was shipped to it."""

    folder: Path
    port: int
    store: ReleaseStore
    release: str = ""
    process: "subprocess.Popen[str] | None" = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def events_path(self) -> Path:
        return self.folder / "events.db"

    def decided(self, after: int = 0) -> list[tuple[int, str | None]]:
        """Number and label of what was decided after an event, the oldest first."""
        events = read_events(self.events_path, 200, "decision")
        return [(event.id, event.label) for event in events if event.id is not None and event.id > after]

    @property
    def learnt(self) -> int:
        """The newest lesson's event, 0 before the first."""
        return max((event.id or 0 for event in read_events(self.events_path, 200, "learnt")), default=0)

    def wastebin(self, *arguments: str) -> str:
        command = [*COMMAND, *arguments, "--config", str(self.folder / "bin.toml"), "--json"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def ship(self) -> None:
        """The factory model once more, as somebody's own: what there is to roll back."""
        key = make_key(self.folder / "key")
        (self.folder / "signers").write_text(signer_line(key))
        shutil.copytree(factory_bundle_path(), self.folder / "shipped")
        path = self.folder / "shipped" / "manifest.json"
        table = json.loads(path.read_bytes())
        sequence = table["sequence"] + 1
        made_at = datetime.fromtimestamp(sequence, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path.write_text(json.dumps({**table, "name": "ours", "sequence": sequence, "created_at": made_at}))
        sign(path, key)
        self.release = self.store.install(members_of(tar_of(self.folder / "shipped"))).release
        self.store.begin_trial(self.release)
        self.store.commit(self.release)

    def start(self) -> None:
        command = [*COMMAND, "run", "--pins", "mock", "--json", "--config", str(self.folder / "bin.toml")]
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, text=True)


@contextmanager
def running_bin(folder: Path) -> Iterator[Bin]:
    """A bin into which people throw nothing but a plastic tub that the model honestly takes for metal."""
    things = folder / "things" / THING
    things.mkdir(parents=True)
    drawn = draw_item(THING, 2, "tub").astype(np.float32)
    opaque = drawn[..., 3:] / 255
    photo = np.pad(drawn[..., :3] * opaque + 235 * (1 - opaque), ((32, 32), (32, 32), (0, 0)), constant_values=235)
    assert cv2.imwrite(str(things / "tub.png"), photo[..., ::-1].astype(np.uint8))
    port = free_port()
    (folder / "bin.toml").write_text(
        'camera.source = "sim:seed=3,others=0,pause=0.5,items=things"\n'
        'models.store = "models"\nmodels.signers = "signers"\n'
        f'events.path = "events.db"\n[dashboard]\nport = {port}\n[outputs]\nbuild = "flaps"\n'
        + "".join(
            f'[[outputs.flap]]\nbin = "{each.name}"\npin_bcm = {pin}\nclosed_us = 1000\nopen_us = 2000\n'
            for pin, each in enumerate(load_config(None).site.bins, 5)
        )
    )
    bin_ = Bin(folder, port, ReleaseStore(folder / "models", folder / "signers"))
    bin_.ship()
    bin_.start()
    assert bin_.process is not None
    try:
        yield bin_
    finally:
        bin_.process.terminate()
        ended = bin_.process.wait(60)
    assert (ended, (folder / "err").read_text()) == (0, "")


@pytest.fixture(scope="module")
def bin_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bin]:
    with running_bin(tmp_path_factory.mktemp("bin")) as bin_:
        yield bin_


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        yield chromium
        chromium.close()


@dataclass
class Visitor:
    """A page, and everything that a developer would frown at."""

    page: Page
    name: str
    by_keys: bool = False
    complaints: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def weigh(self, response: Response) -> None:
        if not response.url.startswith(("http://127.0.0.1:", "blob:")):
            self.strangers.append(response.url)
        length = response.headers.get("content-length")
        if length is not None and "/api/" not in response.url:
            self.sizes[response.url] = int(length)

    def shoot(self, what: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        seen = "[...document.images].every(each => each.complete || each.getBoundingClientRect().top > innerHeight)"
        self.wait(lambda: bool(self.page.evaluate(seen)))
        self.page.screenshot(path=SHOTS / f"{self.name}-{what}.png")

    def press(self, selector: str) -> None:
        """By pointer, or with Tab and Enter alone."""
        if self.by_keys:
            tab_to(self.page, selector)
            self.page.keyboard.press("Enter")
        else:
            self.page.locator(selector).first.click()

    def type(self, selector: str, text: str) -> None:
        if self.by_keys:
            tab_to(self.page, selector)
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(text)
        else:
            self.page.locator(selector).fill(text)

    def agree(self, selector: str) -> None:
        """Press what asks back, and say yes."""
        self.page.once("dialog", accept)
        self.press(selector)

    def go(self, name: str) -> None:
        link = f'nav a[href="#{name}"]'
        if self.page.locator(f"{link}:visible").count() == 0:  # on a phone
            self.press('nav a[href="#more"]')
            link = f'#page-more a[href="#{name}"]'
        self.press(link)
        self.page.wait_for_selector(f"#page-{name} >> :nth-match(*, 2)")

    def wait(self, until: Callable[[], bool]) -> None:
        """Until the bin has done something, with a deadline."""
        for _ in range(DEADLINE_MS // 200):
            if until():
                return
            self.page.wait_for_timeout(200)
        raise AssertionError("the bin did not do it in time")

    def check(self) -> None:
        assert (self.complaints, self.strangers) == ([], [])
        assert 10_000 < sum(self.sizes.values()) <= MOST_BYTES


def visit(browser: Browser, name: str, size: dict[str, int], scheme: str, *, by_keys: bool = False) -> Visitor:
    context: BrowserContext = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size is PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)
    visitor = Visitor(page, name, by_keys)
    page.on("console", visitor.hear)
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    page.on("response", visitor.weigh)
    return visitor


def accept(dialog: Dialog) -> None:
    dialog.accept()


def open_when_served(page: Page, bin_: Bin) -> None:
    for _ in range(600):
        assert bin_.process is not None
        assert bin_.process.poll() is None, (bin_.folder / "err").read_text()
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", bin_.port)) == 0:
                break
        page.wait_for_timeout(100)
    page.goto(bin_.address)


def story(hands: Visitor, bin_: Bin) -> None:
    """First run, token, calibrate, items flow, three are corrected, figures change, right next time, back again."""
    page = hands.page
    open_when_served(page, bin_)
    expect(page.locator("code")).to_have_text("wastebin dashboard token")
    hands.shoot("1-first-run")

    token = json.loads(bin_.wastebin("dashboard", "token"))["token"]
    hands.type("#token", "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a")
    page.keyboard.press("Enter")
    expect(page.locator(".error")).to_contain_text("not the token")
    assert [each for each in hands.complaints if "401" not in each] == []
    hands.complaints.clear()  # the browser itself notes the 401 that we wanted
    hands.type("#token", token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Getting started")).to_be_visible()
    hands.shoot("2-guide")

    hands.go("calibrate")
    hands.press("#begin")
    for step in ("colour", "camera", "region"):
        expect(page.locator(f"#step-{step} button").first).to_be_enabled()
        hands.press(f"#step-{step} button")
        expect(page.locator(f"#step-{step}.done")).to_be_visible()
        expect(page.locator("#save")).to_be_enabled()
    hands.shoot("2-calibrated")
    hands.press("#save")
    expect(page.locator("#save")).to_be_disabled()
    hands.press("#close")
    expect(page.locator("#begin")).to_be_visible()
    assert load_calibration(bin_.folder)[0].done.keys() == {"colour", "camera", "region"}

    hands.go("live")
    expect(page.locator(".decision strong")).to_be_visible()
    expect(page.locator(".bins li")).to_have_count(6)
    expect(page.locator(".view img")).to_have_js_property("naturalWidth", 640)
    page.wait_for_selector(".view .box", state="attached")
    hands.shoot("3-live")

    hands.wait(lambda: len(bin_.decided()) >= 3)
    hands.go("figures")
    expect(page.locator("#corrections")).to_contain_text("0 corrections")
    hands.go("items")
    cards = page.locator("article.item:has(img.thumb)")
    numbers = [str(cards.nth(at).get_attribute("id")) for at in range(3)]
    for number in numbers:
        expect(page.locator(f"#{number} h3")).not_to_contain_text(THING)
        right = f'#{number} .chips [data-label="{THING}"]'
        hands.press(right)
        expect(page.locator(right)).to_have_attribute("aria-pressed", "true")
    hands.shoot("4-corrected")
    said = {(f"item-{each.event_id}", each.label) for each in read_corrections(bin_.events_path)}
    assert said == {(number, THING) for number in numbers}

    hands.go("figures")
    expect(page.locator("#corrections")).to_contain_text("3 corrections")
    expect(page.locator("#sorted tbody tr")).to_have_count(7)
    hands.shoot("5-figures")
    hands.wait(lambda: len(find_looks(looks_folder(bin_.events_path))) == 3)

    hands.go("model")
    expect(page.get_by_role("heading", name="ours in the lab")).to_be_visible()
    hands.press("#learn")
    expect(page.locator("#revoke")).to_be_visible()
    hands.shoot("6-learnt")
    hands.wait(lambda: bin_.learnt > 0)
    # The item that lies in the tray at this moment is still named by what it was before.
    lesson = bin_.learnt
    hands.wait(lambda: len(bin_.decided(after=lesson)) >= 6)
    later = bin_.decided(after=lesson)[1:6]
    # It lies there another way each time, and in none of the ways before was it right.
    assert [label for _, label in later].count(THING) >= 3, later
    hands.go("items")
    for number, label in later:
        expect(page.locator(f"#item-{number} h3")).to_contain_text(str(label))
    hands.shoot("6-right-next-time")

    hands.go("model")
    hands.agree("#revoke")
    expect(page.locator("#nothing-learnt")).to_be_visible()
    hands.agree("#rollback")
    expect(page.locator("#rollback")).to_have_count(0)
    assert bin_.store.read_state().serving is None
    expect(page.get_by_role("heading", name="nano in the lab")).to_be_visible()
    hands.shoot("7-rolled-back")

    hands.go("settings")
    hands.type("#accept_prob", "0.9")
    page.keyboard.press("Enter")
    expect(page.locator(".note:visible")).to_contain_text("next start")
    hands.shoot("8-settings")
    hands.go("health")
    expect(page.get_by_text("Newest picture")).to_be_visible()
    hands.shoot("8-health")
    hands.check()


def test_from_the_first_run_to_a_better_bin_and_back(browser: Browser, bin_: Bin):
    story(visit(browser, "desk", DESK, "light"), bin_)


def test_the_same_with_the_keyboard_alone(browser: Browser, tmp_path: Path):
    with running_bin(tmp_path) as bin_:
        hands = visit(browser, "keys", DESK, "dark", by_keys=True)
        story(hands, bin_)
        page = hands.page
        page.keyboard.press("Home")
        page.reload()
        page.wait_for_selector("#nav:not([hidden])")
        page.keyboard.press("Tab")
        expect(page.locator("#skip")).to_be_focused()
        hands.shoot("skip")
        hands.press("#logout")
        expect(page.locator("#token")).to_be_focused()


@pytest.fixture(scope="module")
def token(bin_: Bin) -> str:
    """Another token, so that each test stands alone."""
    return str(json.loads(bin_.wastebin("dashboard", "reset"))["token"])


def test_a_phone_in_the_dark_shows_every_page_without_a_sideways_scroll(browser: Browser, bin_: Bin, token: str):
    phone = visit(browser, "phone", PHONE, "dark")
    page = phone.page
    open_when_served(page, bin_)
    page.get_by_label("Token").fill(token)
    phone.shoot("1-login")
    page.keyboard.press("Enter")
    page.wait_for_selector("#nav:not([hidden])")
    for name in ("guide", "live", "items", "photo", "figures", "health", "model", "calibrate", "settings"):
        if page.locator(f'nav a[href="#{name}"]').count() == 0:
            continue
        phone.go(name)
        page.wait_for_timeout(1500)  # pictures come
        phone.shoot(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    phone.go("photo")
    page.get_by_label("Photo").set_input_files(bin_.folder / "things" / THING / "tub.png")
    expect(page.locator(".decision strong")).to_be_visible()
    phone.shoot("photo-named")
    phone.check()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until this has the focus, which must be visible."""
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    raise AssertionError(f"Tab never comes to {selector}")


def test_a_decision_is_told_to_who_cannot_see_it(browser: Browser, bin_: Bin, token: str):
    ears = visit(browser, "ears", DESK, "light")
    page = ears.page
    open_when_served(page, bin_)
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#nav:not([hidden])")
    ears.go("live")
    expect(page.locator("#said")).to_contain_text(" to ", timeout=DEADLINE_MS)
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, a, input, img, progress')].filter(each =>
            each.getClientRects().length && !(each.innerText || each.getAttribute('aria-label')
            || each.hasAttribute('alt') || (each.labels || []).length)).map(each => each.outerHTML)"""
    )
    assert unnamed == []
    ears.check()


def test_a_flap_is_jogged_and_the_tray_is_drawn_on_a_phone_and_the_bin_goes_by_it(
    browser: Browser, bin_: Bin, token: str
):
    phone = visit(browser, "jog", PHONE, "light")
    page = phone.page
    open_when_served(page, bin_)
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#nav:not([hidden])")
    phone.go("calibrate")
    page.locator("#begin").click()
    page.locator("#flap").select_option("Glass")
    page.locator("#step-flaps button").first.click()
    expect(page.locator("#pulse")).to_have_value("1000")
    phone.shoot("1-asked")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    tab_to(page, "#jog100")
    for pulse in ("1100", "1200"):
        page.keyboard.press("Enter")
        expect(page.locator("#pulse")).to_have_value(pulse)
        expect(page.locator("#jog100")).to_have_attribute("aria-disabled", "false")
        expect(page.locator("#jog100")).to_be_focused()
    page.locator("#pulse").fill("1180")
    page.keyboard.press("Enter")
    expect(page.locator("#stands")).to_have_text("It stands right")
    expect(page.locator("#pulse")).to_have_value("1180")
    tab_to(page, "#stands")
    page.keyboard.press("Enter")
    expect(page.get_by_text("pulse of the open flap")).to_be_visible()
    page.locator("#stands").click()
    expect(page.locator("#step-flaps.done")).to_be_visible()

    page.get_by_text("Draw it instead").click()
    # In one go: the page may put up a new picture at any moment.
    page.wait_for_selector("#seen")
    page.evaluate("document.getElementById('seen').scrollIntoView({ block: 'center' })")
    seen = page.locator("#seen").bounding_box()
    assert seen is not None
    page.mouse.move(seen["x"] + 0.1 * seen["width"], seen["y"] + 0.1 * seen["height"])
    page.mouse.down()
    page.mouse.move(seen["x"] + 0.9 * seen["width"], seen["y"] + 0.9 * seen["height"])
    page.mouse.up()
    phone.shoot("2-drawn")
    page.locator("#draw").click()
    expect(page.locator("#step-region")).to_contain_text("as drawn")
    expect(page.locator("#save")).to_be_enabled()
    page.locator("#save").click()
    expect(page.locator("#save")).to_be_disabled()
    page.locator("#close").click()
    expect(page.locator("#begin")).to_be_visible()
    found = load_calibration(bin_.folder)[0]
    assert found.pulses_us == {"Glass": (1180, 2000)}
    assert found.region is not None
    assert all(abs(one - other) <= 3 for one, other in zip(found.region, (64, 48, 512, 384), strict=True))

    phone.go("live")
    expect(page.locator(".decision strong")).to_be_visible()
    phone.check()
