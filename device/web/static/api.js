// Ask the bin. A refusal is an Error whose message is the bin's own sentence.

export class Refused extends Error {
  constructor(sentence, status, problems) {
    super(sentence);
    this.status = status;
    this.problems = problems || [];
  }
}

let onLoggedOut = () => {};

export function whenLoggedOut(callback) {
  onLoggedOut = callback;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Refused("The bin does not answer. Is it on, and in the same network?", 0);
  }
  let answer = {};
  try {
    answer = await response.json();
  } catch { /* the status says enough */ }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/api/login") onLoggedOut();
  throw new Refused(answer.error || `The bin answered ${response.status}.`, response.status, answer.problems);
}

export const get = (path) => ask(path);

export const post = (path, table = {}) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json", "x-wastebin": "1" }, body: JSON.stringify(table) });

export const send = (path, blob) =>
  ask(path, { method: "POST", headers: { "content-type": "application/octet-stream", "x-wastebin": "1" }, body: blob });
