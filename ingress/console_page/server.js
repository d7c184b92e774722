// What is asked of the server, and said of what it answers.

import { $, text } from "./dom.js";

/** Returns the answer, or null for what is not there; goes to the login when the session is over. */
export async function get(path) {
  return read(await fetch(path, { cache: "no-store" }));
}

export async function post(path, fields = {}) {
  return read(await fetch(path, { method: "POST", body: new URLSearchParams(fields) }));
}

async function read(reply) {
  if (reply.status === 401) {
    location.assign("/console");
    return null;
  }
  const said = await reply.json();
  if (reply.status === 404) return null;
  if (!reply.ok) throw new Error(said.error?.message ?? reply.statusText);
  return said;
}

let mine = null;

/** Tells whether who is logged in may do what takes this scope. */
export async function may(scope) {
  mine ??= get("/console/data/me");
  const scopes = ["read", "call", "admin"];
  return scopes.indexOf((await mine)?.scope) >= scopes.indexOf(scope);
}

/** Asks, and returns whether the answer was yes. */
export function sure(title, words, yes) {
  const dialog = $("sure");
  text("sure-title", title);
  text("sure-text", words);
  text("sure-yes", yes);
  dialog.returnValue = "";
  dialog.showModal();
  $("sure-yes").onclick = () => dialog.close("yes");
  $("sure-no").onclick = () => dialog.close("");
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

export function notice(words, bad = false) {
  text("notice-text", words);
  $("notice").className = bad ? "banner" : "banner news";
  $("notice").hidden = false;
}

export function closeNotice() {
  $("notice").hidden = true;
}

/** Says that what is shown is old, and since when; nothing where it is not. */
export function lost(what, words = "") {
  $("lost").hidden = !what;
  text("lost-what", what);
  text("lost-text", words);
  document.body.classList.toggle("stale", Boolean(what));
}
