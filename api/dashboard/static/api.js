// Requests to the API.

import { addRoot, removeRoot } from "./root-path.js";
import { hideBanner, showLoggedOut, showUnavailable } from "./banner.js";

const BAD_GATEWAY = 502;

export class ApiError extends Error {
  constructor(problem) { super(problem.detail); this.errors = problem.errors ?? []; this.status = problem.status; }
}

// fetch() that shows a banner while the service is unavailable or the user is logged out.
export async function request(path, options) {
  let response;
  try {
    response = await fetch(addRoot(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    showUnavailable("The service does not respond.");
    throw new Error("The service does not respond.", { cause: error });
  }
  if (response.status === 401 || (response.redirected && removeRoot(new URL(response.url).pathname) === "/login")) {
    showLoggedOut();
    throw new ApiError({ status: 401, detail: "Your login has ended." });
  }
  if (response.status >= BAD_GATEWAY) showUnavailable("The service is not available at the moment.");
  else hideBanner();
  return response;
}

export async function requestJson(path, { method = "GET", body, headers = {}, signal } = {}) {
  const raw = body instanceof Blob || body instanceof FormData;
  const response = await request(path, { method, signal, headers: { Accept: "application/json", ...(body === undefined || body instanceof FormData ? {} : { "Content-Type": raw ? body.type : "application/json" }), ...headers }, body: raw || body === undefined ? body : JSON.stringify(body) });
  if (response.status === 204) return null;
  // A proxy may respond with something other than JSON.
  const document = await response.json().catch(() => ({ status: response.status, detail: `The service responded with status ${response.status}.` }));
  if (!response.ok) throw new ApiError(document);
  return document;
}

// Whether the service has rejected a request, so that a retry has to be a new request: neither the response was
// lost, nor did a proxy fail.
export const isRejected = (error) => error.status < 500;

// crypto.randomUUID() is missing on pages that come over plain HTTP from another machine.
export const createIdempotencyKey = () => crypto.randomUUID?.()
  ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// A POST that is executed once: after a lost response it is retried with the same idempotency key.
const keys = new Map();
export async function post(path, body) {
  if (!keys.has(path)) keys.set(path, createIdempotencyKey());
  try {
    const response = await requestJson(path, { method: "POST", body, headers: { "Idempotency-Key": keys.get(path) } });
    keys.delete(path);
    return response;
  } catch (error) {
    if (isRejected(error)) keys.delete(path);
    throw error;
  }
}

// Runs a button's action, and ignores further clicks until it has finished.
let busy = new WeakSet();
export async function runUnlessBusy(button, action) {
  if (busy.has(button)) return;
  busy.add(button);
  try { await action(); } finally { busy.delete(button); }
}

const ADDRESS_RETRY_MILLISECONDS = 1000;
let addressRetry = null;

// Changes the address without loading a page. Safari throws after 100 calls in 30 s: the latest address is retried.
export function replaceAddress(path) {
  clearTimeout(addressRetry);
  try {
    history.replaceState(null, "", path);
  } catch {
    addressRetry = setTimeout(() => replaceAddress(path), ADDRESS_RETRY_MILLISECONDS);
  }
}

export function setQueryParameter(name, value) {
  const query = new URLSearchParams(location.search);
  query.set(name, value);
  replaceAddress(`?${query}${location.hash}`);
}

// Navigates to another page; the button that led to it stays busy until that page is loaded.
export function navigate(path) {
  location.assign(addRoot(path));
  return new Promise(() => {});
}
addEventListener("pageshow", ({ persisted }) => { if (persisted) busy = new WeakSet(); });
