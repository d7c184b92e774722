// Small ways with elements; none touches what is right already, so that nothing is announced or selected anew.

export const $ = (id) => document.getElementById(id);

/** Makes a list's items those of `values`, keeping the elements (and with them the focus) of those that stay. */
export function fill(list, values, keyOf, make, update) {
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
  values.forEach((value, index) => {
    const key = String(keyOf(value));
    const item = old.get(key) ?? make();
    old.delete(key);
    item.dataset.key = key;
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    update(item, value);
  });
  for (const item of old.values()) item.remove();
}

export function element(tag, className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}

export function entry() {
  const item = element("li"), title = element("span", "name"), words = element("span", "about");
  title.append(element("span"), element("span", "chip mine"));
  words.append(element("span"), element("b", "clock"));
  item.append(title, words);
  return item;
}

export function name(item, words, mark) {
  const [title, chip] = [...item.querySelectorAll(".name > span:not(.dot)")];
  put(title, words);
  put(chip, mark);
  chip.hidden = !mark;
}

export function about(item, words, waits, late) {
  const [what, time] = item.querySelector(".about").children;
  put(what, words.filter(Boolean).join(" · ") + (waits ? " · " : ""));
  put(time, waits);
  time.classList.toggle("late", late);
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

function symbol(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS(svg.namespaceURI, "use"));
  svg.setAttribute("aria-hidden", "true");
  svg.firstChild.setAttribute("href", `#i-${id}`);
  return svg;
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

export function set(holder, key, value) {
  if (holder.dataset[key] !== value) holder.dataset[key] = value;
}

export function text(id, words) {
  put($(id), words);
}

function put(holder, words) {
  if (holder.textContent !== words) holder.textContent = words;
}

