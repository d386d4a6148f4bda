// Calibration: each step alone, again, undone; the terminal's steps in a browser.

import { get, post } from "/static/api.js";
import { card, clock, facts, h, toast } from "/static/dom.js";

const MARKS = { true: "✓", false: "!", undefined: "" };

export async function show(page) {
  let timer = null;
  let shown = "";

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
    if (question.kind === "number") {
      const field = h("input", { id: "answer", type: "number", value: String(question.default ?? "") });
      return h("form", { className: "note", onsubmit: (event) => { event.preventDefault(); answer(Number(field.value)); } },
        h("label", { htmlFor: "answer" }, question.text), field, h("div", { className: "actions" }, h("button", { type: "submit" }, "Go on")));
    }
    return h("div", { className: "note", role: "alert" }, h("p", {}, question.text), h("div", { className: "actions" },
      h("button", { type: "button", id: "yes", onclick: () => answer(true) }, question.kind === "show" ? "It is there" : "Yes"),
      h("button", { type: "button", className: "quiet", onclick: () => answer(false) }, question.kind === "show" ? "Skip" : "No")));
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
        each.name === "looks" ? looks(state) : h("div", { className: "actions" },
          h("button", { type: "button", className: told ? "quiet" : "", disabled: !state.open || Boolean(state.busy), onclick: () => act(`/api/calibration/steps/${each.name}/run`, {}) }, state.busy === each.name ? "Running …" : told ? "Again" : "Run"),
          told ? h("button", { type: "button", className: "quiet", disabled: !state.open || Boolean(state.busy), onclick: () => act(`/api/calibration/steps/${each.name}/undo`, {}) }, "Undo") : null)));
  }

  function draw(state) {
    if (!state.steps) return;
    const text = JSON.stringify(state);
    if (text === shown) return;
    shown = text;
    const focused = document.activeElement;
    const place = focused && page.contains(focused) ? [focused.closest("li")?.id, focused.textContent, focused.id] : null;
    page.replaceChildren(h("div", { className: "narrow grid" },
      h("div", {}, h("h1", {}, "Calibrate"), h("p", { className: "hint" }, "Make this camera under this lamp work. While it is open the bin sorts nothing.")),
      state.error ? h("p", { className: "note", role: "alert" }, state.error) : null,
      card(null, state.open
        ? h("div", {}, h("p", {}, state.saved ? "Open. Run the steps in their order, or only the one that you need." : "Not saved yet."), h("div", { className: "actions" },
          h("button", { type: "button", id: "save", disabled: Boolean(state.busy) || state.saved, onclick: async () => { await act("/api/calibration/save", {}); toast("Saved. The bin goes by it from its next start on."); } }, "Save"),
          h("button", { type: "button", id: "close", className: "quiet", onclick: () => { if (state.saved || confirm("Close without saving?")) act("/api/calibration/close", {}); } }, "Close")))
        : h("button", { type: "button", id: "begin", onclick: () => act("/api/calibration/open", {}) }, "Begin")),
      asked(state.question),
      state.picture ? h("img", { className: "preview", src: `/api/calibration/picture.jpg?${Date.now()}`, alt: "What the last step looked at" }) : null,
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
    if (page.isConnected || !shown) timer = setTimeout(() => refresh().catch(() => {}), state.busy || state.question ? 700 : 3000);
  }

  await refresh();
  return () => clearTimeout(timer);
}
