// Who waits, who talks, who is there; and whom a call can be transferred to.

import { $, element, fill, set } from "./dom.js";
import { about, action, badge, choiceButton, entry, name } from "./elements.js";
import { PRESENCE, clock } from "./words.js";

const LATE_MS = 60_000;

export function drawSide(state, now, ringing) {
  const { waiting = [], calls = [], agents = [] } = state.desk ?? {};
  set(document.querySelector(".side"), "stale", String(Boolean(state.lost || state.elsewhere)));
  const canTake = state.wantsReady && !state.call && !state.lost;
  badge("waiting-count", waiting.length, canTake);
  $("waiting-none").hidden = waiting.length > 0;
  fill($("waiting"), waiting, ({ call }) => call, entry, (item, each) => {
    const place = waiting.indexOf(each) + 1, mine = each.for === state.agent.name;
    item.classList.toggle("first", each === ringing);
    const waits = now - each.since_ms;
    name(item, `${place}. ${callerOf(each)}`, clock(waits), waits > LATE_MS);
    about(item, mine ? "for you" : each.for ? `for ${each.for}` : "", each.queue);
    action(item, "Answer", `Answer ${describe(each)}`, canTake && (!each.for || mine), { take: each.call });
  });
  const live = supervises(state) ? calls : [];
  $("live").hidden = !supervises(state);
  badge("live-count", live.length, false);
  $("calls-none").hidden = live.length > 0;
  fill($("calls"), live, ({ call }) => call, entry, (item, each) => {
    const own = each.agent === state.agent.name, here = state.call?.call === each.call;
    name(item, `${each.agent} with ${each.caller || "a caller"}`, clock(now - each.since_ms));
    about(item, here && state.call.listening ? "you listen" : "", each.queue, { held: "on hold", connecting: "connecting" }[each.state]);
    action(item, "Listen in", `Listen in to ${each.agent} with ${callerOf(each)}`, !own && each.state !== "connecting" && !state.call && !state.lost && !state.elsewhere, { listen: each.call });
  });
  const rank = ({ state: is }) => ["ready", "talking", "away"].indexOf(is);
  const others = agents.filter((each) => each.name !== state.agent?.name);
  others.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
  $("agents-none").hidden = others.length > 0;
  fill($("agents"), others, (each) => each.name, entry, (item, each) => {
    set(item.querySelector(".name"), "presence", each.state);
    if (!item.querySelector(".dot")) item.querySelector(".name").prepend(element("span", "dot"));
    name(item, each.name);
    about(item, "", PRESENCE[each.state]);
  });
  drawChoices(state, others);
}

function drawChoices(state, others) {
  let number = 0;
  const choose = (item, title, what, id, to, open) => {
    const button = item.firstElementChild ?? item.appendChild(choiceButton(id));
    button.querySelector("b").textContent = title;
    button.querySelector("small").textContent = what;
    button.disabled = !open;
    Object.assign(button.dataset, to, { number: ++number });
    button.querySelector("kbd").textContent = number <= 9 ? number : "";
    button.querySelector("kbd").hidden = number > 9;
  };
  const words = { ready: "ready", talking: "in a call; the caller would wait", away: "away" };
  $("transfer-nobody").hidden = others.length > 0;
  fill($("transfer-agents"), others, (each) => each.name, () => element("li"), (item, each) =>
    choose(item, each.name, words[each.state], "person", { agent: each.name }, each.state !== "away"));
  fill($("transfer-queues"), state.desk?.queues ?? [], (each) => each, () => element("li"), (item, each) =>
    choose(item, each, waitingIn(state, each), "queue", { queue: each }, true));
}

export function callerOf({ caller }) {
  return caller ? `Caller ${caller}` : "A caller";
}

export function supervises(state) {
  return state.agent?.role === "supervisor";
}

function waitingIn(state, queue) {
  const number = state.desk.waiting.filter((each) => each.queue === queue).length;
  return number ? `${number} waiting` : "";
}

export function describe(waiting) {
  return `${callerOf(waiting)}${waiting.queue ? `, ${waiting.queue}` : ""}`;
}
