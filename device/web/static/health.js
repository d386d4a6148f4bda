// How the bin is.

import { get } from "/static/api.js";
import { card, clock, facts, h } from "/static/dom.js";

const told = (words, unknown) => words === null ? unknown : words.length ? words.join(", ") : "no";

export async function show(page) {
  async function refresh() {
    const health = await get("/api/health");
    const took = health.classify_ms;
    page.replaceChildren(h("h1", {}, "Health"), h("div", { className: "grid two" },
      h("div", { className: "grid" },
        card("Now", facts([
          ["Camera", health.camera.source],
          ["Newest picture", health.camera.age_s === null ? "none yet" : `${health.camera.age_s.toFixed(1)} s ago`],
          ["Pictures a second", health.camera.fps === null ? "–" : String(health.camera.fps)],
          ["One look, median", took ? `${took.p50} ms` : "–"],
          ["One look, 95 %", took ? `${took.p95} ms` : "–"],
          ["Trouble", health.fault || "none"],
          ["Jams since start", String(health.jams)],
        ])),
        card("Machine", facts([
          ["Heat", health.heat_c === null ? "not told here" : `${health.heat_c} °C`],
          ["Throttled now", told(health.throttled.now, "not told here")],
          ["Throttled since start", told(health.throttled.past, "not told here")],
          ["Memory of the bin", health.memory_mb === null ? "–" : `${Math.round(health.memory_mb)} MB`],
          ["Free disk", `${(health.disk.free_mb / 1024).toFixed(1)} of ${(health.disk.total_mb / 1024).toFixed(1)} GB`],
          ["Outputs", health.pins],
        ])),
        card("Versions", facts(Object.entries(health.versions)))),
      h("div", { className: "grid" },
        card("What happened", health.events.length ? h("div", { className: "table" }, h("table", {}, h("tbody", {}, health.events.map((event) =>
          h("tr", {}, h("td", { className: "small soft" }, clock(event.at)), h("td", {}, h("b", {}, event.kind), ` ${event.detail}`)))))) : h("p", { className: "hint" }, "Nothing out of the ordinary.")),
        card("Counters", facts(Object.entries(health.counts).map(([name, count]) => [name.replaceAll("_", " ").replace(":", " into "), String(count)]))))));
  }
  await refresh();
  const timer = setInterval(() => refresh().catch(() => {}), 5000);
  return () => clearInterval(timer);
}
