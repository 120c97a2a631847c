// Requests to the service that has sent this page.

import { randomKey } from "./insecure.js";
import { sayAway, sayLoggedOut, sayNothing } from "./notice.js";

const BAD_GATEWAY = 502;

export class Refusal extends Error {
  constructor(problem) { super(problem.detail); this.errors = problem.errors ?? []; this.status = problem.status; }
}

// As fetch; that nobody answers, or that the login has ended, stands at the top of the page as long as it is so.
export async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    sayAway("The service does not answer.");
    throw new Error("The service does not answer.", { cause: error });
  }
  if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) {
    sayLoggedOut();
    throw new Refusal({ status: 401, detail: "Your login has ended." });
  }
  if (answer.status >= BAD_GATEWAY) sayAway("The service cannot answer now.");
  else sayNothing();
  return answer;
}

export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const raw = body instanceof Blob;
  const answer = await request(path, { method, signal, headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": raw ? body.type : "application/json" }), ...headers }, body: raw || body === undefined ? body : JSON.stringify(body) });
  if (answer.status === 204) return null;
  // What stands between may answer for the service, in its own words.
  const document = await answer.json().catch(() => ({ status: answer.status, detail: `The service answered with status ${answer.status}.` }));
  if (!answer.ok) throw new Refusal(document);
  return document;
}

// Whether a request was refused for good: its answer was not lost, nor that of something that stands between.
export const isFinal = (error) => error.status < 500;

// A request that changes something. It may have been carried out although its answer was lost: asked for again,
// it is sent with the same key, and done once.
const keys = new Map();
export async function change(path, body) {
  if (!keys.has(path)) keys.set(path, randomKey());
  try {
    const answer = await ask(path, { method: "POST", body, headers: { "Idempotency-Key": keys.get(path) } });
    keys.delete(path);
    return answer;
  } catch (error) {
    if (isFinal(error)) keys.delete(path);
    throw error;
  }
}

// What a button does, once however often it is pressed meanwhile.
let busy = new WeakSet();
export async function once(button, action) {
  if (busy.has(button)) return;
  busy.add(button);
  try { await action(); } finally { busy.delete(button); }
}

// Leaves for another page; until it is there, the button that led to it stays busy.
export function leave(path) {
  location.assign(path);
  return new Promise(() => {});
}
addEventListener("pageshow", ({ persisted }) => { if (persisted) busy = new WeakSet(); });
