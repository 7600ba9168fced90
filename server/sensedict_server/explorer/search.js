// The search field: suggestions while a word is typed, by the combobox pattern of WAI-ARIA.

import { ask, of } from "./api.js";
import { announce, bdi, byId, el } from "./dom.js";
import { go } from "./route.js";
import { count } from "./text.js";

const WAIT = 60; // ms that typing must rest

let timer = null;
let asked = null; // AbortController of the question that is under way
let active = -1;

/** Make the field work; `dictionary` tells which dictionary is asked. */
export function searching(dictionary) {
  const field = byId("word");
  field.addEventListener("input", () => suggest(dictionary()));
  field.addEventListener("keydown", onKey);
  field.addEventListener("blur", close);
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    look(field.value);
  });
  // The field keeps the focus while an option is pressed.
  byId("suggestions").addEventListener("pointerdown", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

/** Show the word that the page is about, unless one is being typed. */
export function shownWord(word) {
  const field = byId("word");
  if (document.activeElement !== field || byId("suggestions").hidden) field.value = word;
  close();
}

function look(text) {
  const word = text.trim();
  close();
  if (!word) return;
  byId("word").value = word;
  go({ word });
}

function suggest(dictionary) {
  clearTimeout(timer);
  asked?.abort();
  const prefix = byId("word").value;
  if (!prefix.trim() || !dictionary) return close();
  timer = setTimeout(async () => {
    asked = new AbortController();
    try {
      const { words } = await ask(of(dictionary, "words"), { prefix, limit: 10 }, asked.signal);
      if (byId("word").value === prefix && document.activeElement === byId("word")) show(words);
    } catch (error) {
      if (error.name !== "AbortError") close(); // the search itself will say what is wrong
    }
  }, WAIT);
}

function show(words) {
  const options = words.map(({ word, senses }, place) =>
    el(
      "li",
      { role: "option", id: `suggestion-${place}`, "aria-selected": "false", "data-word": word, onclick: () => look(word) },
      bdi(word, { class: "suggested" }),
      el("span", { class: "quiet" }, senses ? count(senses, "sense") : "relations only"),
    ),
  );
  const list = byId("suggestions");
  list.replaceChildren(...options);
  list.hidden = options.length === 0;
  byId("word").setAttribute("aria-expanded", String(!list.hidden));
  activate(-1);
  announce(options.length ? count(options.length, "suggestion") : "No word begins so");
}

function close() {
  clearTimeout(timer);
  asked?.abort();
  byId("suggestions").hidden = true;
  byId("word").setAttribute("aria-expanded", "false");
  activate(-1);
}

function activate(place) {
  active = place;
  const field = byId("word");
  field.removeAttribute("aria-activedescendant");
  [...byId("suggestions").children].forEach((option, at) => {
    option.setAttribute("aria-selected", String(at === place));
    if (at === place) {
      field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }
  });
}

function onKey(event) {
  if (event.isComposing) return;
  const list = byId("suggestions");
  const open = !list.hidden;
  const options = list.children.length;
  if (event.key === "Escape") {
    if (open) close();
    else byId("word").value = "";
    event.preventDefault();
  } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    // One place more than there are options: that of the text as typed.
    const step = event.key === "ArrowDown" ? 1 : options;
    activate(((active + 1 + step) % (options + 1)) - 1);
    event.preventDefault();
  } else if (event.key === "ArrowDown") {
    byId("word").dispatchEvent(new Event("input"));
    event.preventDefault();
  } else if (event.key === "Enter" && open && active >= 0) {
    look(list.children[active].dataset.word);
    event.preventDefault();
  }
}
