// The service, asked with the reader's key where it wants one.

import { byId } from "./dom.js";

const KEPT = "sensedict-key"; // in sessionStorage: gone with the tab

/** An answer that is an error. `code` is the tail of the problem document's type. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfter = null) {
    super(detail);
    Object.assign(this, { status, code, retryAfter });
  }
}

/** The answer to a GET of a path with parameters, as JSON. Throws a Problem, or AbortError when `signal` says so. */
export async function ask(path, parameters = {}, signal = undefined) {
  const url = new URL(path.replace(/^\//, ""), location.href.split("#")[0]);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  for (;;) {
    const key = sessionStorage.getItem(KEPT);
    const response = await send(url, key, signal);
    if (response.status === 401) {
      const problem = await problemOf(response);
      signal?.throwIfAborted();
      // Another question may have got a key meanwhile.
      if (sessionStorage.getItem(KEPT) !== key || (await keyFrom(key !== null))) continue;
      throw problem;
    }
    if (!response.ok) throw await problemOf(response);
    return response.json();
  }
}

/** The path of something of a dictionary. */
export function of(ref, rest) {
  return `v1/dictionaries/${encodeURIComponent(ref).replace("%40", "@")}/${rest}`;
}

async function send(url, key, signal) {
  const headers = { Accept: "application/json" };
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  try {
    return await fetch(url, { headers, signal, redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The service does not answer. See whether it runs and can be reached, then try again.");
  }
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  try {
    const { type = "", detail = "" } = await response.json();
    return new Problem(response.status, type.split(":").pop(), detail, retryAfter);
  } catch {
    return new Problem(response.status, "", `The service answered ${response.status}, and not as it should.`, retryAfter);
  }
}

let asking = null; // one dialog, however many questions wait for it

/** Ask the reader for a key; false where none was given. */
export function keyFrom(refused) {
  asking ??= dialog(refused).finally(() => (asking = null));
  return asking;
}

/** Show whether a key is held: only who needs one sees the button. */
export function showKey() {
  byId("key").hidden = sessionStorage.getItem(KEPT) === null;
}

function dialog(refused) {
  const box = byId("key-dialog");
  const field = byId("key-value");
  const held = sessionStorage.getItem(KEPT);
  byId("key-reason").textContent = refused
    ? "The service did not take that key: it may be mistyped, revoked or expired."
    : held
      ? "This tab holds a key. Put in another one, or forget it."
      : "This service answers those who have a key. Whoever runs it makes one with “sensedict keys”.";
  byId("key-forget").hidden = held === null;
  field.value = "";
  return new Promise((resolve) => {
    let given = false;
    const close = () => box.close();
    const submit = () => {
      const key = field.value.trim();
      // What cannot stand in a header cannot be a key either.
      if (/^[\x21-\x7e]+$/.test(key)) {
        sessionStorage.setItem(KEPT, key);
        given = true;
      }
    };
    const forget = () => {
      sessionStorage.removeItem(KEPT);
      box.close();
    };
    byId("key-form").addEventListener("submit", submit);
    byId("key-cancel").addEventListener("click", close);
    byId("key-forget").addEventListener("click", forget);
    box.addEventListener(
      "close",
      () => {
        byId("key-form").removeEventListener("submit", submit);
        byId("key-cancel").removeEventListener("click", close);
        byId("key-forget").removeEventListener("click", forget);
        field.value = "";
        showKey();
        resolve(given);
      },
      { once: true },
    );
    box.showModal();
    field.focus();
  });
}
