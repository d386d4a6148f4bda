// On a phone: the pages that have no place in the bar.

import { pages } from "/static/app.js";
import { h } from "/static/dom.js";

const IN_THE_BAR = ["live", "items", "photo", "figures"];

export async function show(page) {
  page.replaceChildren(h("h1", {}, "More"), h("div", { className: "grid" }, pages().filter(([name]) => !IN_THE_BAR.includes(name)).map(([name, title]) =>
    h("a", { className: "card", href: `#${name}` }, title))));
}
