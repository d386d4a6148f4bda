// The live view: picture, region, item, the vote as it forms, the decision, the flap.

import { get } from "/static/api.js";
import { onStatus } from "/static/app.js";
import { $, card, h, percent, svg } from "/static/dom.js";
import { itemCard, spotCheck } from "/static/items.js";

const PHASES = { moving: "opening", open: "open", closing: "closing", showing: "lit", failed: "not answering" };

export async function show(page) {
  const picture = h("img", { alt: "What the bin's camera sees", src: "/live.mjpeg" });
  const overlay = svg("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
  const view = h("div", { className: "view" }, picture, overlay);
  const still = h("p", { className: "note", hidden: true }, "Four people watch already; the picture stays off here. Everything else works.");
  picture.addEventListener("error", () => { picture.hidden = true; still.hidden = false; });
  const decision = h("p", { className: "decision" }, h("span", { className: "hint" }, "Nothing yet: put something into the tray."));
  const vote = h("div", {}, h("p", { className: "hint" }, "It waits for the next item."));
  const bins = h("ul", { className: "bins" });
  const pace = h("p", { className: "soft small" });
  const unsure = h("div", { className: "grid" });
  const question = h("div", {});

  page.replaceChildren(h("h1", { className: "visually-hidden" }, "Live"),
    h("div", { className: "grid two live" },
      h("div", { className: "eye" }, view, still),
      h("div", { className: "grid words" }, card("Decision", decision), card("The vote", vote), question,
        h("section", { hidden: true, id: "unsure" }, h("h2", {}, "Was this right?"), unsure)),
      h("div", { className: "flaps" }, card("Bins, since the start", bins, pace))));

  let told = null;
  let asked = -1;
  const rows = new Map();

  async function refresh() {
    const answer = await get("/api/items?limit=12");
    const byEvent = new Map(answer.items.map((item) => [item.event, item]));
    const spot = answer.items.find((item) => item.asked);
    question.replaceChildren(...(spot ? [spotCheck(spot, answer.labels, refresh)] : []));
    const first = answer.unsure.slice(0, 1).map((event) => byEvent.get(event)).filter(Boolean);
    unsure.replaceChildren(...first.map((item) => itemCard(item, answer.labels)));
    if ($("unsure")) $("unsure").hidden = !first.length;
  }

  const stop = onStatus((status) => {
    draw(overlay, view, status);
    drawVote(vote, rows, status);
    drawBins(bins, status);
    pace.textContent = status.fps === undefined ? "" : `${status.fps} pictures a second${status.classify_ms ? `, ${status.classify_ms} ms a look` : ""}`;
    const last = status.last;
    if (last && last.event !== told) {
      const isFirst = told === null;
      told = last.event;
      const sure = last.accepted ? "" : last.reason === "strange" ? "it does not know this, so: " : "not sure, so: ";
      decision.replaceChildren(h("strong", {}, last.label), h("span", {}, percent(last.prob)), h("span", {}, `${sure}→ ${last.bin}`),
        h("span", { className: "soft small" }, `${last.frames} looks, ${(last.ms / 1000).toFixed(1)} s`));
      if (!isFirst) $("said").textContent = `${last.label}, ${percent(last.prob)}, ${sure}to ${last.bin}`;
    }
    if (last && last.event !== asked && !document.activeElement.closest("#unsure, .spot")) {
      asked = last.event;
      setTimeout(() => { if (page.isConnected) refresh().catch(() => {}); }, 1500);
    }
  });
  await refresh();
  return () => {
    stop();
    picture.src = "";
    picture.removeAttribute("src");
  };
}

function draw(overlay, view, status) {
  if (!status.size) return;
  const [width, height] = status.size;
  view.style.aspectRatio = `${width} / ${height}`;
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const marks = [];
  if (status.region) {
    const [x, y, w, tall] = status.region;
    marks.push(svg("rect", { class: "region", x, y, width: w, height: tall }));
  }
  if (status.box) {
    const [x, y, w, tall] = status.box;
    marks.push(svg("rect", { class: "box", x, y, width: w, height: tall, rx: 6 }));
    const best = Object.entries(status.vote).sort((one, other) => other[1] - one[1])[0];
    const words = best ? `${best[0]} ${percent(best[1])}` : "item";
    marks.push(svg("text", { class: "boxlabel", x: x + 6, y: Math.max(24, y - 8) }, words));
  }
  overlay.replaceChildren(...marks);
}

function drawVote(vote, rows, status) {
  const probs = status.vote || {};
  if (!Object.keys(probs).length) {
    if (status.box) return; // the last vote stays while the item lies there
    if (rows.size) {
      rows.clear();
      vote.replaceChildren(h("p", { className: "hint" }, "It waits for the next item."));
    }
    return;
  }
  if (!rows.size) {
    const list = h("dl", { className: "bars" });
    for (const label of Object.keys(probs)) {
      const row = { name: h("dt", {}, label), bar: h("progress", { max: 1, "aria-label": label }), share: h("dd", {}) };
      rows.set(label, row);
      list.append(row.name, h("dd", {}, row.bar), row.share);
    }
    vote.replaceChildren(list, h("p", { className: "soft small" }));
  }
  const best = Object.entries(probs).sort((one, other) => other[1] - one[1])[0][0];
  for (const [label, row] of rows) {
    row.bar.value = probs[label] || 0;
    row.share.textContent = percent(probs[label] || 0);
    row.name.className = row.share.className = label === best ? "top" : "";
  }
  vote.lastChild.textContent = status.looks === 1 ? "one look so far" : `${status.looks} looks so far`;
}

function drawBins(bins, status) {
  if (!status.counts) return;
  const names = Object.keys(status.counts);
  if (bins.children.length !== names.length) {
    bins.replaceChildren(...names.map((name) => h("li", {}, h("b", {}, name), h("span", { className: "flap" }))));
  }
  names.forEach((name, at) => {
    const isMoving = status.last && status.last.bin === name && status.phase !== "parked";
    bins.children[at].className = isMoving ? "open" : "";
    bins.children[at].lastChild.textContent = `${status.counts[name]}${isMoving ? ` · ${PHASES[status.phase] || status.phase}` : ""}`;
  });
}
