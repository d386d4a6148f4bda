// Calibration: each step alone, again, undone; the terminal's steps in a browser.

import { get, post } from "/static/api.js";
import { $, card, clock, facts, h, toast } from "/static/dom.js";

const MARKS = { true: "✓", false: "!", undefined: "" };
const JOGS_US = [-100, -20, 20, 100];
const SIDES = ["x", "y", "width", "height"];

export async function show(page) {
  let timer = null;
  let shown = "";
  let last = {};
  let where = "region"; // the step that has the picture
  let jogging = null; // the flap that is being moved stays on the page while it moves, and the focus with it
  let chosen = "";
  let drawn = null;

  async function act(path, table) {
    try {
      draw(await post(path, table));
    } catch (error) {
      toast(error.message);
    }
    await refresh();
  }

  function asked(question) {
    if (!question) return null;
    const answer = (value) => act("/api/calibration/answer", { value });
    return h("div", { className: "note", role: "alert" }, h("p", {}, question.text), h("div", { className: "actions" },
      h("button", { type: "button", id: "yes", onclick: () => answer(true) }, question.kind === "show" ? "It is there" : "Yes"),
      h("button", { type: "button", className: "quiet", onclick: () => answer(false) }, question.kind === "show" ? "Skip" : "No")));
  }

  function jog(state) {
    const [low, high] = state.pulse_us;
    const moves = !state.question || jogging.isSent;
    const fits = (us) => !moves && us >= low && us <= high;
    const to = (us) => {
      if (!fits(us)) return;
      jogging = { ...jogging, default: us, isSent: true };
      draw(last, true);
      act("/api/calibration/answer", { value: us });
    };
    const field = h("input", { id: "pulse", type: "number", min: String(low), max: String(high), step: "1", value: String(jogging.default) });
    // Not `disabled`: a button that is would lose the focus while the flap moves.
    const button = (id, text, us, className) => h("button", { type: "button", id, className, "aria-disabled": String(!fits(us)), onclick: () => to(us) }, text);
    return h("form", { className: "note", onsubmit: (event) => { event.preventDefault(); to(Number(field.value)); } },
      h("label", { htmlFor: "pulse", role: "status" }, jogging.text), field,
      h("div", { className: "jog", role: "group", "aria-label": "Move it by µs" }, JOGS_US.map((by) => button(`jog${by}`, `${by < 0 ? "−" : "+"}${Math.abs(by)}`, jogging.default + by, "quiet"))),
      h("div", { className: "actions" }, button("stands", moves ? "It moves …" : "It stands right", jogging.default, ""), h("button", { type: "submit", className: "quiet" }, "Move it there")));
  }

  function run(name, state, told) {
    const isOff = !state.open || Boolean(state.busy);
    return [
      name === "flaps" && state.flaps.length ? h("select", { id: "flap", "aria-label": "Which flap", onchange: (event) => { chosen = event.target.value; } }, h("option", { value: "" }, "All of them"), state.flaps.map((flap) => h("option", { value: flap, selected: flap === chosen }, flap))) : null,
      h("button", { type: "button", className: told ? "quiet" : "", disabled: isOff, onclick: () => act(`/api/calibration/steps/${name}/run`, name === "flaps" && chosen ? { flap: chosen } : {}) }, state.busy === name ? "Running …" : told ? "Again" : "Run"),
      told ? h("button", { type: "button", className: "quiet", disabled: isOff, onclick: () => act(`/api/calibration/steps/${name}/undo`, {}) }, "Undo") : null,
    ];
  }

  function region(state) {
    const box = drawn || state.region || [0, 0, ...state.size];
    return h("details", { open: Boolean(drawn), ontoggle: (event) => { if (event.target.open && where !== "region") { where = "region"; drawn = box; draw(last, true); } } }, h("summary", {}, "Draw it instead"),
      h("p", { className: "small soft" }, "Drag over the picture above, from one corner of the tray to the other, or say it in pixels."),
      h("div", { className: "jog" }, SIDES.map((side, at) => h("label", {}, side, h("input", { id: `region-${side}`, type: "number", min: "0", value: String(box[at]), oninput: (event) => { drawn = box.with(at, Math.round(Number(event.target.value))); } })))),
      h("div", { className: "actions" }, h("button", { type: "button", id: "draw", disabled: !state.open || Boolean(state.busy), onclick: () => { drawn = null; act("/api/calibration/steps/region/run", { region: SIDES.map((side) => Math.round(Number($(`region-${side}`).value))) }); } }, "Take this")));
  }

  function preview(state) {
    let from = null;
    const place = h("div", { className: "box" });
    const image = h("img", { id: "seen", src: `/api/calibration/picture.jpg?${Date.now()}`, alt: "What the camera sees", draggable: false });
    const at = (event) => {
      const edge = image.getBoundingClientRect();
      return [event.clientX - edge.left, event.clientY - edge.top].map((px, axis) => Math.round(Math.min(1, Math.max(0, px / (axis ? edge.height : edge.width))) * state.size[axis]));
    };
    const show = (box) => {
      const share = (px, axis) => `${(100 * px) / state.size[axis]}%`;
      Object.assign(place.style, { left: share(box[0], 0), top: share(box[1], 1), width: share(box[2], 0), height: share(box[3], 1) });
      SIDES.forEach((side, index) => { $(`region-${side}`).value = box[index]; });
    };
    const span = (one, other) => [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.abs(one[0] - other[0]), Math.abs(one[1] - other[1])];
    return h("div", { className: "preview drawn",
      onpointerdown: (event) => { from = at(event); event.currentTarget.setPointerCapture(event.pointerId); },
      onpointermove: (event) => { if (from) show(drawn = span(from, at(event))); },
      onpointerup: () => { if (from && drawn) document.querySelector("#step-region details").open = true; from = null; } }, image, place);
  }

  function looks(state) {
    const select = h("select", { id: "label" }, state.labels.map((label) => h("option", { value: label }, label)));
    return [h("label", { htmlFor: "label" }, "What lies in the tray"), select, h("div", { className: "actions" },
      h("button", { type: "button", disabled: !state.open || Boolean(state.busy), onclick: () => act("/api/calibration/steps/looks/run", { label: select.value }) }, "Keep one look"))];
  }

  function step(each, state) {
    const told = each.result || each.done;
    const figures = each.result ? Object.entries(each.result.figures) : [];
    return h("li", { className: told && told.ok ? "done" : "", id: `step-${each.name}` },
      h("span", { className: "mark", "aria-hidden": "true" }, state.busy === each.name ? "…" : MARKS[told ? told.ok : undefined]),
      h("div", {},
        h("b", {}, each.title), told ? h("span", { className: "visually-hidden" }, told.ok ? " (done)" : " (needs you)") : null,
        h("p", { className: "small soft" }, each.asks),
        told ? h("p", { className: told.ok ? "small" : "small error" }, told.sentence, each.done && !each.result ? ` (${clock(each.done.at)})` : "") : null,
        figures.length ? h("details", {}, h("summary", {}, "Figures"), facts(figures.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? String(Math.round(value * 100) / 100) : value]))) : null,
        each.name === "looks" ? looks(state) : h("div", { className: "actions" }, run(each.name, state, told)),
        state.busy === each.name ? (jogging ? jog(state) : asked(state.question)) : null,
        state.picture && where === each.name ? preview(state) : null,
        each.name === "region" ? region(state) : null));
  }

  function draw(state, isForced = false) {
    if (!state.steps) return;
    const text = JSON.stringify(state);
    if (text === shown && !isForced) return;
    shown = text;
    last = state;
    if (state.busy) where = state.busy;
    if (!isForced) {
      if (state.question?.kind === "number") jogging = state.question;
      else if (state.question || state.busy !== "flaps") jogging = null;
    }
    const focused = document.activeElement;
    const place = focused && page.contains(focused) ? [focused.closest("li")?.id, focused.textContent, focused.id] : null;
    page.replaceChildren(h("div", { className: "narrow grid" },
      h("div", {}, h("h1", {}, "Calibrate"), h("p", { className: "hint" }, "Make this camera under this lamp work. While it is open the bin sorts nothing.")),
      state.error ? h("p", { className: "note", role: "alert" }, state.error) : null,
      card(null, state.open
        ? h("div", {}, h("p", {}, state.saved ? "Open. Run the steps in their order, or only the one that you need." : "Not saved yet."), h("div", { className: "actions" },
          h("button", { type: "button", id: "save", disabled: Boolean(state.busy) || state.saved, onclick: async () => { await act("/api/calibration/save", {}); toast("Saved. The bin goes by it as soon as you close this."); } }, "Save"),
          h("button", { type: "button", id: "close", className: "quiet", onclick: () => { if (state.saved || confirm("Close without saving?")) act("/api/calibration/close", {}); } }, "Close")))
        : h("button", { type: "button", id: "begin", onclick: () => act("/api/calibration/open", {}) }, "Begin")),
      h("section", { className: "card" }, h("ol", { className: "steps" }, state.steps.map((each) => step(each, state))))));
    if (place) {
      const scope = (place[0] && document.getElementById(place[0])) || page;
      const again = (place[2] && document.getElementById(place[2])) || [...scope.querySelectorAll("button")].find((button) => button.textContent === place[1]) || scope.querySelector("button:not(:disabled)");
      if (again && !again.disabled) again.focus();
      else scope.querySelector("button:not(:disabled)")?.focus();
    }
  }

  async function refresh() {
    clearTimeout(timer);
    const state = await get("/api/calibration");
    draw(state);
    if (state.busy && $("seen")) $("seen").src = `/api/calibration/picture.jpg?${Date.now()}`;
    if (page.isConnected || !shown) timer = setTimeout(again, state.busy || state.question ? 700 : 3000);
  }

  // A bin that was away for a moment is asked again.
  const again = () => refresh().catch(() => { if (page.isConnected) timer = setTimeout(again, 3000); });

  await refresh();
  return () => clearTimeout(timer);
}
