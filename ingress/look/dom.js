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

export function symbol(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS(svg.namespaceURI, "use"));
  svg.setAttribute("aria-hidden", "true");
  svg.firstChild.setAttribute("href", `#i-${id}`);
  return svg;
}

export function set(holder, key, value) {
  if (holder.dataset[key] !== value) holder.dataset[key] = value;
}

export function text(id, words) {
  put($(id), words);
}

export function put(holder, words) {
  if (holder.textContent !== words) holder.textContent = words;
}
