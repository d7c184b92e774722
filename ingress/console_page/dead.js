// Dead letters: read anew when their numbers change; those who may can try one again, or drop it.

import { $, element, fill, put, text } from "./dom.js";
import { count, number, when } from "./format.js";
import { get, may, notice, post, sure } from "./server.js";
import { now } from "./stream.js";

export async function showDead({ kept, buried }) {
  text("dead-count", number(kept));
  const link = element("a");
  link.href = "#dead-panel";
  link.textContent = "look at them";
  $("dead-said").replaceChildren(kept ? link : buried ? `none of ${number(buried)} is left` : "there was never one");
  $("dead-said").classList.toggle("quiet", !kept);
  $("dead-panel").hidden = !kept;
  $("dead-tile").dataset.some = String(kept > 0);
  const { letters } = kept ? await get("/console/data/dead") : { letters: [] };
  const mayHandle = await may("admin");
  fill($("letters"), letters, (letter) => letter.id, make, (item, letter) => {
    const [what, said, detail, row] = item.children;
    put(what, [letter.action, letter.why.replaceAll("_", " ")].filter(Boolean).join(": "));
    const words = [when(letter.at_ms, now()), letter.attempts && count(letter.attempts, "try", "tries")];
    put(said.firstChild, words.filter(Boolean).join(" · "));
    const link = said.lastChild;
    link.hidden = !letter.call_id;
    link.href = `/console/calls/${encodeURIComponent(letter.call_id ?? "")}`;
    put(detail, letter.detail);
    row.hidden = !mayHandle;
    const [retry, drop] = row.children;
    retry.hidden = !letter.retriable;
    retry.onclick = () => handle(letter, "retry");
    drop.onclick = () => handle(letter, "drop");
  });
}

async function handle(letter, what) {
  const sayYes = () => sure("Drop this dead letter?", "It is forgotten for good, with what it holds.", "Drop it");
  if (what === "drop" && !(await sayYes())) return;
  try {
    const done = await post(`/console/dead/${letter.id}/${what}`);
    notice(done ? said(done.message) : "It is gone already.");
  } catch (error) {
    notice(error.message, true);
  }
}

function said(message) {
  return `${message[0].toUpperCase()}${message.slice(1)}.`;
}

function make() {
  const item = element("li"), about = element("p", "quiet small"), link = element("a"), row = element("p", "row");
  link.textContent = "its call";
  about.append(element("span"), " ", link);
  for (const words of ["Try again", "Drop"]) {
    const button = element("button");
    button.type = "button";
    button.textContent = words;
    row.append(button);
  }
  item.append(element("p", "what"), about, element("p", "detail"), row);
  return item;
}
