// A few values that go over those of the configuration; checked by the bin as the configuration is.

import { get, post } from "/static/api.js";
import { card, facts, h, toast } from "/static/dom.js";

const FIELDS = {
  accept_prob: ["How sure is sure enough", "0 to 1. What is less sure goes to the bin for the rest."],
  contamination: ["What a wrong item in a recycling bin costs", "Only the ratio of the two costs counts."],
  missed: ["What a recyclable in the rest costs", "1 beside 4 means: one wrong item is as bad as four lost ones."],
  settle_s: ["Seconds a thing must lie still", "Longer is calmer, shorter is quicker."],
  spot_check_rate: ["Share of the items to ask about", "0 to 1. 0.1: one item of ten, drawn by chance, is asked about; 0 asks never, and the bin cannot say how right it is."],
};

export async function show(page) {
  const state = await get("/api/settings");
  const inputs = Object.entries(FIELDS).map(([name, [title, hint]]) => {
    const [low, high] = state.ranges[name];
    const input = h("input", { id: name, name, type: "number", step: "any", min: low, max: high, value: state.settings[name] ?? "", placeholder: `as configured: ${Math.round(state.now[name] * 1000) / 1000}`, "aria-describedby": `${name}-hint` });
    return [h("label", { htmlFor: name }, title), input, h("p", { className: "small soft", id: `${name}-hint` }, hint)];
  });
  const error = h("div", { className: "error", role: "alert" });
  const later = h("p", { className: "note", hidden: !state.restart }, "Saved; the bin goes by it from its next start on", state.can_restart ? ": see below." : ".");
  const form = h("form", { noValidate: true, onsubmit: async (event) => {
    event.preventDefault();
    error.replaceChildren();
    const table = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, form.elements[name].value === "" ? null : Number(form.elements[name].value)]));
    for (const name of Object.keys(FIELDS)) form.elements[name].removeAttribute("aria-invalid");
    try {
      later.hidden = !(await post("/api/settings", table)).restart;
      toast("Saved.");
    } catch (refused) {
      const problems = refused.problems.length ? refused.problems : [refused.message];
      error.replaceChildren(...problems.map((problem) => h("p", {}, problem)));
      for (const name of Object.keys(FIELDS)) if (problems.some((problem) => problem.includes(name))) form.elements[name].setAttribute("aria-invalid", "true");
    }
  } }, inputs, error, h("div", { className: "actions" }, h("button", { type: "submit" }, "Save")));
  page.replaceChildren(h("div", { className: "narrow grid" }, h("h1", {}, "Settings"),
    state.note ? h("p", { className: "note" }, state.note) : null, later,
    h("section", { className: "card" }, h("p", { className: "hint" }, "Empty means: as the configuration or the model says."), form),
    card("Bins", facts(state.bins.map((bin) => [bin.name, bin.takes.join(", ") + (bin.rest ? ", and what is not sure" : "")])),
      h("p", { className: "small soft" }, state.file ? `Bins, wiring and camera stand in ${state.file}.` : "This is the built-in bin; a configuration names other bins and their wiring.")),
    card("Start again", h("p", { className: "hint" }, state.can_restart
      ? "Flaps close, the bin ends and is started anew by systemd; it sorts again within half a minute."
      : "This bin does not run as a service, so nobody would start it again: stop it and start it where you began."),
    h("div", { className: "actions" }, h("button", { type: "button", id: "restart", className: "danger", disabled: !state.can_restart, onclick: restart }, "Start again")))));
}

async function restart() {
  if (!confirm("Start the bin again? It does not sort meanwhile.")) return;
  await post("/api/restart");
  toast("The bin starts again …");
  let isGone = false;
  const timer = setInterval(async () => {
    try {
      await get("/api/session");
      if (!isGone) return;
      clearInterval(timer);
      location.reload();
    } catch {
      isGone = true;
    }
  }, 1000);
}
