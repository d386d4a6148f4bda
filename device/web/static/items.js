// The last items, and one tap to say what they were.

import { get, post } from "/static/api.js";
import { onStatus } from "/static/app.js";
import { bars, clock, h, percent, toast } from "/static/dom.js";

function thumb(item) {
  if (!item.picture) return h("div", { className: "thumb" }, "picture not kept");
  return h("img", { className: "thumb", src: `/api/items/${item.event}/picture.jpg`, alt: `Item ${item.event}`, loading: "lazy" });
}

function choices(legend, labels, pressed, guessed, onChoose) {
  const group = h("fieldset", { className: "chips" }, h("legend", {}, legend));
  const ordered = [...labels].sort((one, other) => Number(other.label === guessed) - Number(one.label === guessed));
  for (const { label, bin } of ordered) {
    group.append(h("button", { type: "button", "aria-pressed": String(label === pressed), title: `goes to ${bin}`, "data-label": label, onclick: async () => {
      for (const button of group.querySelectorAll("button")) button.disabled = true;
      try {
        await onChoose(label);
        for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.label === label));
      } catch (error) {
        toast(error.message);
      } finally {
        for (const button of group.querySelectorAll("button")) button.disabled = false;
        const chosen = group.querySelector(`[data-label="${CSS.escape(label)}"]`);
        if (chosen && document.activeElement === document.body) chosen.focus();
      }
    } }, label));
  }
  return group;
}

export function itemCard(item, labels) {
  const tags = [];
  if (item.wrong) tags.push(h("span", { className: "tag" }, "marked wrong"));
  else if (!item.accepted) tags.push(h("span", { className: "tag" }, item.reason === "strange" ? "does not know it" : "not sure"));
  const corrected = h("span", { className: "tag good", hidden: !item.was || item.was === item.label }, `it was ${item.was}`);
  return h("article", { className: "card item", id: `item-${item.event}` },
    thumb(item),
    h("div", {},
      h("h3", {}, `${item.label} `, h("span", { className: "soft" }, percent(item.prob))),
      h("p", { className: "small" }, `→ ${item.bin}${item.landed && item.landed !== item.bin ? `, fell into ${item.landed}` : ""}`),
      h("p", { className: "small soft" }, `${clock(item.at)} · no. ${item.event}`),
      h("p", {}, ...tags, " ", corrected)),
    choices("It was …", labels, item.was, item.label, async (label) => {
      await post(`/api/items/${item.event}/was`, { label });
      corrected.textContent = `it was ${label}`;
      corrected.hidden = label === item.label;
      toast(`Thank you. Item ${item.event} was ${label}; its picture is kept to learn from.`);
    }),
    h("details", {}, h("summary", {}, "All probabilities"), bars(item.probs)));
}

export function spotCheck(item, labels, onDone) {
  return h("section", { className: "card item spot", id: `check-${item.event}` },
    thumb(item),
    h("div", {},
      h("h2", {}, "A question by chance"),
      h("p", {}, `Item ${item.event} was taken for `, h("b", {}, item.label), " and sent to ", h("b", {}, item.bin), ". What was it really?"),
      h("p", { className: "small soft" }, "Only answers to such questions count for the bin's accuracy.")),
    choices("It was …", labels, null, item.label, async (label) => {
      await post(`/api/items/${item.event}/check`, { label });
      toast("Thank you. Your answer counts.");
      await onDone();
    }));
}

export async function show(page) {
  let newest = 0;
  const list = h("div", { className: "grid" });
  const more = h("button", { type: "button", className: "quiet", hidden: true, onclick: async () => { newest = await refresh(); } }, "Show newer items");
  page.replaceChildren(h("h1", {}, "Items"), h("p", { className: "hint" }, "Tap what an item really was. Uncertain ones come first. Pictures stay in the bin, and only those of corrected items are kept."), more, list);

  async function refresh() {
    const answer = await get("/api/items");
    more.hidden = true;
    const byEvent = new Map(answer.items.map((item) => [item.event, item]));
    const asked = answer.items.filter((item) => item.asked).slice(0, 2);
    const unsure = answer.unsure.map((event) => byEvent.get(event)).filter(Boolean);
    const rest = answer.items.filter((item) => !answer.unsure.includes(item.event));
    const part = (title, items) => items.length ? [h("h2", {}, title), h("div", { className: "grid items" }, items)] : [];
    list.replaceChildren(
      ...part("Questions", asked.map((item) => spotCheck(item, answer.labels, refresh))),
      ...part("Not sure", unsure.map((item) => itemCard(item, answer.labels))),
      ...part("Latest", rest.map((item) => itemCard(item, answer.labels))));
    if (!answer.items.length) list.replaceChildren(h("p", { className: "card" }, "Nothing was sorted yet. Put something into the tray."));
    return answer.items.length ? answer.items[0].event : 0;
  }

  newest = await refresh();
  return onStatus((status) => { if (status.last && status.last.event > newest) more.hidden = false; });
}
