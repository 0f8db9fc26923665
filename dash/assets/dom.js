// Elements. Text of runs enters the page as text only.

/** An element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function fill(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") for (const [key, one] of Object.entries(value)) element.dataset[key] = one;
    else element.setAttribute(name, value);
  }
}

/** Replaces what an element holds. */
export function replace(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** A card of the page with its heading; `tools` are put at the end of the heading. */
export function card(title, unit, classes = "", ...tools) {
  const note = unit ? el("small", { text: unit }) : null;
  const heading = el("div", { class: "top" }, el("h2", {}, title, note ? " " : null, note), ...tools);
  return el("section", { class: `card ${classes}`, "aria-label": title }, heading);
}

/** Buttons of which one is pressed; `choose` is called with its value. */
export function choice(label, options, value, choose) {
  const group = el("div", { class: "seg", role: "group", "aria-label": label });
  for (const [key, text, hint] of options) {
    const button = el("button", { type: "button", text, title: hint, "aria-pressed": String(key === value), onclick: () => choose(key) });
    button.dataset.value = key;
    group.append(button);
  }
  return group;
}

/** Marks the pressed button of `choice`. */
export function press(group, value) {
  for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.value === value));
}

/** A panel without what it needs: one line that names it and the key that records it. */
export function folded(title, missing, record) {
  const line = el("p", { class: "folded" }, el("b", { text: title }), " needs ");
  missing.forEach((key, at) => line.append(at > 0 ? ", " : "", el("code", { text: key })));
  if (record) line.append(". Recorded by ", ...coded(record), ".");
  return line;
}

/** Text with `code` marked. */
export function coded(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", { text: part }) : part));
}

/** A table of a header and rows of cells; cells are text or elements. */
export function table(header, rows) {
  const line = (cells, tag) => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  return el("table", {}, el("thead", {}, line(header, "th")), el("tbody", {}, ...rows.map((cells) => line(cells, "td"))));
}

/** A table below a drawing, built when it is opened; `cells()` gives its header and its rows. */
export function dataTable(title, cells) {
  const below = el("details", { class: "data" }, el("summary", { text: "data" }));
  below.fill = () => {
    below.querySelector(".scroll")?.remove();
    if (below.open) below.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, table` }, table(...cells())));
  };
  below.addEventListener("toggle", below.fill);
  return below;
}

/** Text with long digests cut; the whole is its title. */
export function short(text) {
  const cut = text.replace(/\b[0-9a-f]{24,}\b/g, (digest) => `${digest.slice(0, 10)}…`);
  return cut === text ? text : el("span", { title: text, text: cut });
}

/** Whether the pointer itself moved: browsers also tell when the page moves below it. */
export function moved(event) {
  return event.movementX !== 0 || event.movementY !== 0;
}

/** Says something to screen readers. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

const SYMBOLS = new Map([[0x0a, "↵"], [0x09, "⇥"], [0x0d, "␍"], [0x7f, "␡"], [0x200b, "U+200B"], [0x200c, "U+200C"], [0x200d, "U+200D"], [0x2060, "U+2060"], [0xfeff, "U+FEFF"], [0x2028, "U+2028"], [0x2029, "U+2029"]]);

/** Characters that show nothing, as symbols; a line feed keeps its break where `breaks` is set. */
export function visible(text, breaks = false) {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    const name = SYMBOLS.get(code);
    if (code === 0x0a) out += breaks ? "↵\n" : "↵";
    else if (name !== undefined) out += name;
    else if (code < 0x20) out += String.fromCodePoint(0x2400 + code);
    else if (code >= 0x80 && code < 0xa0) out += `U+00${code.toString(16).toUpperCase()}`;
    else if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) out += `U+${code.toString(16).toUpperCase()}`;
    else if (code >= 0xd800 && code <= 0xdfff) out += "�";
    else out += character;
  }
  return out;
}
