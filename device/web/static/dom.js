// Build and fill elements; text is always text, never markup.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const $ = (id) => document.getElementById(id);

export const percent = (share) => `${Math.round(100 * share)} %`;

export function clock(iso) {
  const at = new Date(iso);
  const isToday = at.toDateString() === new Date().toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return isToday ? time : `${at.toLocaleDateString()} ${time}`;
}

export function card(title, ...children) {
  return h("section", { className: "card" }, title ? h("h2", {}, title) : null, ...children);
}

export function facts(pairs) {
  return h("dl", { className: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function bars(probs) {
  const sorted = Object.entries(probs).sort((one, other) => other[1] - one[1]);
  return h("dl", { className: "bars" }, sorted.flatMap(([label, prob], at) => [
    h("dt", { className: at ? "" : "top" }, label),
    h("dd", {}, h("progress", { max: 1, value: prob, "aria-label": label })),
    h("dd", { className: at ? "" : "top" }, percent(prob)),
  ]));
}

let hiding;

export function toast(sentence) {
  const element = $("toast");
  element.textContent = sentence;
  element.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { element.hidden = true; }, 6000);
}
