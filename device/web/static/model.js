// The model that runs, what this site has taught it, and the ways back.

import { get, post } from "/static/api.js";
import { card, clock, facts, h, percent, toast } from "/static/dom.js";

function action(words, path, question, onDone, props = {}) {
  const button = h("button", { type: "button", ...props, onclick: async () => {
    if (question && !confirm(question)) return;
    button.disabled = true;
    try {
      const answer = await post(path);
      toast(answer.told || (answer.refused ? `Not learnt: ${answer.refused}` : "Done."));
    } catch (error) {
      toast(error.message);
    } finally {
      button.disabled = false;
      await onDone();
    }
  } }, words);
  return button;
}

function learntCard(learnt, refresh) {
  const looks = Object.entries(learnt.looks || {});
  return card("What this place has taught it",
    learnt.active
      ? h("div", {}, facts([
        ["In use", learnt.active], ["Learnt", clock(learnt.at)],
        ...(learnt.judged ? [["Right before", `${percent(learnt.right_before)} of ${learnt.judged}`], ["Right now", `${percent(learnt.right_after)} of ${learnt.judged}`]] : []),
      ]),
      h("p", { className: "small soft" }, learnt.judged ? "Counted on the pictures it was taught with, each left out once." : "Corrections only: they count for their own kind of item."),
      h("p", { className: "small" }, looks.map(([label, count]) => `${label} ${count}`).join(" · ")))
      : h("p", { className: "hint", id: "nothing-learnt" }, "Nothing yet: the model answers as it came. Correct some items, or show it a few things; it learns by itself a few seconds later."),
    learnt.refused ? h("p", { className: "note" }, `Not learnt: ${learnt.refused}`) : null,
    (learnt.suspicious || []).length ? h("p", { className: "note" }, `Labels to look at again: ${learnt.suspicious.join(", ")}`) : null,
    h("div", { className: "actions" },
      action("Learn now", "/api/model/learn", null, refresh, { id: "learn" }),
      learnt.active ? action("Forget what was learnt", "/api/model/revoke", "Let the model answer as it came, until items are corrected again?", refresh, { className: "danger", id: "revoke" }) : null));
}

function storeCard(store, refresh) {
  if (!store) return card("Versions", h("p", { className: "hint" }, "This bin was started with one model named; models that are shipped to it are not used."));
  return card("Versions",
    facts([["In use", store.serving], ["Way back", store.can_roll_back ? store.way_back : "none"], ["Last change", store.told]]),
    store.releases.length ? h("div", { className: "table" }, h("table", {}, h("tbody", {}, store.releases.map((each) =>
      h("tr", {}, h("td", {}, each.name || "?", h("div", { className: "small soft" }, each.release)), h("td", {}, each.role), h("td", { className: "small" }, each.problem)))))) : null,
    store.can_roll_back ? h("div", { className: "actions" },
      action("Roll back", "/api/model/rollback", `Go back to ${store.way_back}?`, refresh, { className: "danger", id: "rollback" })) : h("p", { className: "hint" }, "The model that came along runs; there is none behind it."));
}

export async function show(page) {
  async function refresh() {
    const model = await get("/api/model");
    const scores = Object.entries(model.scores || {});
    page.replaceChildren(h("h1", {}, "Model"), h("div", { className: "grid two" },
      h("div", { className: "grid" }, learntCard(model.learnt, refresh), storeCard(model.store, refresh)),
      card(`${model.name} in the lab`,
        model.problem ? h("p", { className: "note" }, model.problem) : null,
        h("p", { className: "small soft" }, `${model.running} · ${(model.labels || []).join(", ")}`),
        scores.length ? h("div", { className: "table" }, h("table", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Pictures of"), h("th", { scope: "col", className: "num" }, "Right"), h("th", { scope: "col", className: "num" }, "Of"))),
          h("tbody", {}, scores.map(([group, score]) => h("tr", {}, h("th", { scope: "row" }, group), h("td", { className: "num" }, `${(100 * score.accuracy).toFixed(1)} %`), h("td", { className: "num" }, String(score.pictures))))))) : null,
        h("p", { className: "small soft" }, "No training step saw these pictures. They promise nothing about your room: see Figures."))));
  }
  await refresh();
  const timer = setInterval(() => { if (!page.contains(document.activeElement)) refresh().catch(() => {}); }, 5000);
  return () => clearInterval(timer);
}
