// What is this? A photo from the phone, named by the bin's model; it is made small here and kept nowhere.

import { send } from "/static/api.js";
import { bars, card, h, percent } from "/static/dom.js";

const WIDEST_PX = 1280;

async function shrink(file) {
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, WIDEST_PX / Math.max(bitmap.width, bitmap.height));
    const canvas = h("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    return blob || file;
  } catch {
    return file; // the bin says what is wrong with it
  }
}

export async function show(page) {
  const answer = h("div", { role: "status", "aria-live": "polite" });
  let address = null;
  const forget = () => { if (address) URL.revokeObjectURL(address); };
  const input = h("input", { id: "photo", type: "file", accept: "image/*", onchange: async () => {
    const file = input.files[0];
    if (!file) return;
    answer.replaceChildren(h("p", { className: "hint" }, "Looking …"));
    const small = await shrink(file);
    forget();
    address = URL.createObjectURL(small);
    const picture = h("img", { className: "preview", src: address, alt: "Your photo" });
    try {
      const said = await send("/api/photo", small);
      const sure = said.accepted ? "" : said.reason === "strange" ? " (it does not know this thing)" : " (it is not sure)";
      answer.replaceChildren(card(null, picture, h("p", { className: "decision" }, h("strong", {}, said.label), h("span", {}, percent(said.prob))),
        h("p", {}, "It would go to ", h("b", {}, said.bin), sure, "."), bars(said.probs), h("p", { className: "soft small" }, `${said.ms} ms`)));
    } catch (error) {
      answer.replaceChildren(h("p", { className: "error" }, error.message));
    }
    input.value = "";
  } });
  page.replaceChildren(h("div", { className: "narrow grid" },
    h("div", {}, h("h1", {}, "What is this?"),
      h("p", { className: "hint" }, "Take a photo of one thing, filling the picture. The bin names it and keeps nothing.")),
    h("section", { className: "card drop" }, h("label", { htmlFor: "photo" }, "Photo"), input), answer));
  return forget;
}
