// Today and this week, and what is known of how right the bin is; no share without its interval.

import { get } from "/static/api.js";
import { card, h, percent } from "/static/dom.js";

function share(title, found, hint) {
  const known = found && found.value !== null && found.value !== undefined;
  return h("div", {}, h("dt", {}, title),
    h("dd", {}, h("span", { className: "big" }, known ? percent(found.value) : "–"),
      h("div", { className: "small soft" }, known ? `${percent(found.low)} to ${percent(found.high)} (95 %), ${found.n} answers` : "no answers yet")),
    h("p", { className: "small soft" }, hint));
}

async function draw(page) {
  const figures = await get("/api/figures");
  const sum = (key) => figures.bins.reduce((total, bin) => total + bin[key], 0);
  const accuracy = figures.accuracy ? { ...figures.accuracy, value: figures.accuracy.right } : null;
  page.replaceChildren(h("h1", {}, "Figures"), h("div", { className: "grid two" },
    card("Sorted", h("div", { className: "table" }, h("table", { id: "sorted" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Bin"), h("th", { scope: "col", className: "num" }, "Today"), h("th", { scope: "col", className: "num" }, "This week"))),
      h("tbody", {}, figures.bins.map((bin) => h("tr", {}, h("th", { scope: "row" }, bin.name), h("td", { className: "num" }, String(bin.today)), h("td", { className: "num" }, String(bin.week)))),
        h("tr", {}, h("th", { scope: "row" }, "All"), h("td", { className: "num" }, String(sum("today"))), h("td", { className: "num" }, String(sum("week")))))))),
    card("How right it is, last four weeks", h("dl", { className: "facts", id: "shares" },
      share("Right", accuracy, "Of all items, named right. Only questions by chance and landings count."),
      share("Contamination", figures.contamination, "Of what went into recycling bins, what does not belong there."),
      share("Diversion", figures.diversion, "Of what could be recycled, what was.")),
    accuracy ? h("p", { className: "small", id: "corrections" }, `${accuracy.corrections} corrections: at least so many errors, told by people. They count for no share above, since people mostly report what went wrong.`) : null,
    h("p", { className: "small" }, h("a", { href: "#model" }, "What the model reached in the lab")))));
}

export async function show(page) {
  await draw(page);
  const timer = setInterval(() => { if (!page.contains(document.activeElement)) draw(page).catch(() => {}); }, 4000);
  return () => clearInterval(timer);
}
