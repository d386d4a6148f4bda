// The first days with a bin: what is done, what comes next.

import { get } from "/static/api.js";
import { h } from "/static/dom.js";

export async function show(page) {
  const [health, items, model, calibration] = await Promise.all([get("/api/health"), get("/api/items"), get("/api/model"), get("/api/calibration")]);
  const corrected = items.items.filter((item) => item.was).length;
  const steps = [
    [true, "Token", "Only who has it can look in. Lost? At the bin: wastebin dashboard reset", null],
    [health.camera.age_s !== null && health.camera.age_s < 5, "The camera sees the tray", "The picture must show the tray, sharp and not too dark.", ["#live", "Look at it"]],
    [calibration.steps.some((step) => step.done), "Calibrated", "Colours, exposure, the tray's place, the flaps: a few minutes, with a printed card.", ["#calibrate", "Calibrate"]],
    [items.items.length > 0, "Something was sorted", "Put one thing into the tray, take your hand out, and wait a moment.", ["#live", "Watch it"]],
    [corrected >= 3, "Three items corrected", "Tap what they really were. That also keeps their pictures, so that the bin can learn this room.", ["#items", "Correct some"]],
    [Boolean(model.learnt.active), "It has learnt this place", "A few seconds after corrections it learns by itself, and shows by how much it is better.", ["#model", "See the model"]],
  ];
  page.replaceChildren(h("div", { className: "narrow" }, h("h1", {}, "Getting started"),
    h("section", { className: "card" }, h("ol", { className: "steps" }, steps.map(([isDone, title, hint, link], at) =>
      h("li", { className: isDone ? "done" : "" },
        h("span", { className: "mark", "aria-hidden": "true" }, isDone ? "✓" : String(at + 1)),
        h("div", {}, h("b", {}, title), h("span", { className: "visually-hidden" }, isDone ? " (done)" : " (to do)"), h("p", { className: "small soft" }, hint),
          link && !isDone ? h("a", { className: "button quiet", href: link[0] }, link[1]) : null)))))));
}
