// The elements of the desk.

import { $, element, put, set, symbol, text } from "./dom.js";

export function entry() {
  const item = element("li"), title = element("span", "name"), words = element("span", "about");
  title.append(element("span"), element("b", "clock"));
  words.append(element("span", "chip mine"), element("span"));
  item.append(title, words);
  return item;
}

export function name(item, words, lasts = "", late = false) {
  put(item.querySelector(".name > span:not(.dot)"), words);
  const time = item.querySelector(".clock");
  put(time, lasts);
  time.classList.toggle("late", late);
}

export function about(item, mark, ...words) {
  const [chip, what] = item.querySelector(".about").children;
  put(chip, mark);
  chip.hidden = !mark;
  put(what, words.filter(Boolean).join(" · "));
}

export function action(item, words, spoken, open, what) {
  let button = item.querySelector("button");
  if (!open) return button?.remove();
  if (!button) {
    button = item.appendChild(element("button"));
    button.type = "button";
  }
  put(button, words);
  button.setAttribute("aria-label", spoken);
  Object.assign(button.dataset, what);
}

export function choiceButton(id) {
  const button = element("button");
  button.type = "button";
  button.append(symbol(id), element("b"), element("small"), element("kbd"));
  return button;
}

export function control(id, label, symbolId, pressed, open) {
  const button = $(id);
  put(button.querySelector("span"), label);
  icon(button, symbolId);
  if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  button.disabled = !open;
}

export function icon(holder, id) {
  const use = holder.querySelector("use");
  if (use.getAttribute("href") !== `#i-${id}`) use.setAttribute("href", `#i-${id}`);
}

export function badge(id, number, rings) {
  text(id, String(number));
  set($(id), "some", String(rings && number > 0));
}

export function chip(id, words) {
  text(id, words ?? "");
  $(id).hidden = !words;
}
