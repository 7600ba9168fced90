// Elements, made of text and never of markup: what a corpus or a thesaurus holds is shown, not run.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`onclick: …`) and children: elements, texts, or nothing. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The element of that id, which the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** A text whose direction is its own, whatever stands around it. */
export function bdi(text, attributes = {}) {
  return el("bdi", { dir: "auto", ...attributes }, text);
}

/** Say something to those who listen to the page. */
export function announce(text) {
  byId("status").textContent = text;
}
