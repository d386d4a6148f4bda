// The frame of all pages: who is logged in, which page is shown, and the bin's status for all of them.

import { get, post, whenLoggedOut } from "/static/api.js";
import { $, h, toast } from "/static/dom.js";

const PAGES = {
  live: ["Live", "◉", () => import("/static/live.js")],
  items: ["Items", "☰", () => import("/static/items.js")],
  photo: ["What is this?", "?", () => import("/static/photo.js")],
  figures: ["Figures", "▤", () => import("/static/figures.js")],
  health: ["Health", "", () => import("/static/health.js")],
  model: ["Model", "", () => import("/static/model.js")],
  calibrate: ["Calibrate", "", () => import("/static/calibrate.js")],
  settings: ["Settings", "", () => import("/static/settings.js")],
  guide: ["Guide", "", () => import("/static/guide.js")],
  more: ["More", "…", () => import("/static/more.js")],
};
const WORDS = {
  starting: "starting", learning: "learning the empty tray", watching: "watching", voting: "looking", waiting_clear: "waiting for hands",
  moving: "moving", checking: "checking", held: "lid open", alarm: "jammed", paused: "paused",
};

let source = null;
let leave = () => {};
let shown = 0;
const listeners = new Set();
export let newest = null;

export function onStatus(callback) {
  listeners.add(callback);
  if (newest) callback(newest);
  return () => listeners.delete(callback);
}

export const pages = () => Object.entries(PAGES).filter(([name]) => name !== "more").map(([name, [title]]) => [name, title]);

function follow() {
  if (source) return;
  source = new EventSource("/api/live");
  source.onmessage = (message) => {
    newest = JSON.parse(message.data);
    const state = $("state");
    state.textContent = WORDS[newest.state] || newest.state;
    state.className = newest.state === "alarm" ? "state bad" : "state";
    state.hidden = false;
    trouble(newest.fault || newest.jam || (newest.lid_open ? "The lid is open: nothing moves until it is shut." : null)
      || ((newest.full || []).length ? `Full: ${newest.full.join(", ")}. Empty it.` : null));
    for (const listener of listeners) listener(newest);
  };
  source.onerror = async () => {
    $("state").textContent = "no connection";
    $("state").className = "state bad";
    if (source && source.readyState === EventSource.CLOSED) {
      unfollow();
      setTimeout(begin, 3000);
    }
  };
}

function unfollow() {
  if (source) source.close();
  source = null;
}

function trouble(sentence) {
  if ($("trouble").textContent !== (sentence || "")) $("trouble").textContent = sentence || "";
  $("trouble").hidden = !sentence;
}

async function show() {
  const turn = ++shown;
  let name = location.hash.slice(1).split("/")[0];
  if (name === "main") {
    $("main").focus();
    return;
  }
  if (!(name in PAGES)) name = "live";
  leave();
  leave = () => {};
  for (const link of $("nav").children) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${PAGES[name][0]} – wastebin`;
  const page = h("div", { id: `page-${name}` });
  try {
    const module = await PAGES[name][2]();
    if (turn !== shown) return;
    $("main").replaceChildren(page);
    leave = (await module.show(page)) || (() => {});
    if (turn !== shown) leave();
  } catch (error) {
    if (error.status !== 401) page.replaceChildren(h("p", { className: "error", role: "alert" }, error.message));
  }
}

function logIn(hasToken) {
  unfollow();
  leave();
  leave = () => {};
  shown += 1;
  $("nav").hidden = $("logout").hidden = $("state").hidden = true;
  trouble(null);
  document.title = "Log in – wastebin";
  if (!hasToken) {
    $("main").replaceChildren(h("section", { className: "card narrow" },
      h("h1", {}, "Welcome to your bin"),
      h("p", {}, "Nobody can look in yet. Make the token that opens this page; at the bin, type:"),
      h("p", {}, h("code", {}, "wastebin dashboard token")),
      h("p", { className: "hint" }, "It is shown once. Until it is made, this page is served to the bin's own machine only."),
    ));
    setTimeout(begin, 2000);
    return;
  }
  const field = h("input", { id: "token", name: "token", type: "password", autocomplete: "current-password", required: true, autocapitalize: "none", spellcheck: false });
  const error = h("p", { className: "error", role: "alert" });
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await post("/api/login", { token: field.value });
      begin();
    } catch (refused) {
      error.textContent = refused.message;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  } },
  h("label", { htmlFor: "token" }, "Token"), field, error,
  h("div", { className: "actions" }, h("button", { type: "submit" }, "Open the dashboard")),
  h("p", { className: "hint small" }, "Lost it? At the bin: ", h("code", {}, "wastebin dashboard reset")));
  $("main").replaceChildren(h("section", { className: "card narrow" }, h("h1", {}, "Open this bin"), form));
  field.focus();
}

async function begin() {
  let session;
  try {
    session = await get("/api/session");
  } catch (error) {
    $("main").replaceChildren(h("p", { className: "error" }, error.message));
    setTimeout(begin, 3000);
    return;
  }
  if (!session.open) {
    logIn(session.token);
    return;
  }
  $("nav").hidden = $("logout").hidden = false;
  follow();
  if (!location.hash && !localStorage.getItem("wastebin-guide")) {
    localStorage.setItem("wastebin-guide", "seen");
    history.replaceState(null, "", "#guide");
  }
  await show();
}

function build() {
  $("nav").append(...Object.entries(PAGES).map(([name, [title, sign]]) =>
    h("a", { href: `#${name}`, className: name === "more" ? "more" : sign ? "" : "wide" }, h("span", { "aria-hidden": "true" }, sign), name === "photo" ? "What is it?" : title)));
  $("logout").addEventListener("click", async () => {
    await post("/api/logout");
    begin();
  });
  whenLoggedOut(() => logIn(true));
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("main").focus();
  });
  window.addEventListener("hashchange", () => { if (!$("nav").hidden) show().then(() => $("main").focus({ preventScroll: true })); });
  window.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    if (event.reason && event.reason.status !== 401) toast(event.reason.message || String(event.reason));
  });
  begin();
}

build();
