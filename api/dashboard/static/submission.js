// Beside both forms: the cost estimate, the errors, the submit button and the curl command.

import { ApiError, createIdempotencyKey, isRejected, navigate, replaceAddress, requestJson } from "./api.js";
import { addCopyAction } from "./clipboard.js";
import { clearErrors, findTarget, showError, validate } from "./controls.js";
import { formatCount } from "./elements.js";

const DEBOUNCE_MILLISECONDS = 300;
const element = (id) => document.getElementById(id);

// `options`: form; path, where the document is posted; read(), the document; describe(cost), a cost estimate as
// [term, text] pairs; resolve(pointer), [the element that contains an error's field, the pointer within it];
// page(response), the page to show after the submission; query(document), the page's own query string.
export class Submission {
  constructor(options) {
    Object.assign(this, options);
    this.button = element("submit");
    this.button.addEventListener("click", (event) => { event.preventDefault(); this.send(); });
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    addCopyAction(element("copy-curl"), () => element("curl").textContent);
    addCopyAction(element("copy-link"), () => new URL(this.address, location).href);
    // The back button restores the form; submitting it again is a new request.
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.update(); });
  }

  // The form has changed: updates the address, and debounces the curl command and the cost estimate.
  update() {
    this.key = createIdempotencyKey();
    this.document = this.read();
    element("copy-curl").disabled = true;
    this.address = `${location.pathname}${this.query(this.document)}`;
    replaceAddress(this.address);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.showCurl(); this.estimateCost(); }, DEBOUNCE_MILLISECONDS);
  }

  async showCurl() {
    const { document, path } = this;
    const line = await requestJson(`/new/curl?path=${path}`, { method: "POST", body: document }).catch(() => null);
    if (line === null || document !== this.document) return;
    element("curl").textContent = line;
    element("copy-curl").disabled = false;
  }

  // Validates in the browser first, because the service would only reject such a document.
  isValid() {
    const errors = validate(this.form);
    if (errors.length) this.show(errors, []);
    return errors.length === 0;
  }

  async estimateCost() {
    this.estimate?.abort();
    if (!this.isValid()) return;
    this.estimate = new AbortController();
    try {
      const cost = await requestJson(`${this.path}?dry_run=true`, {
        method: "POST", body: this.document, signal: this.estimate.signal,
      });
      this.show([], this.describe(cost));
    } catch (error) {
      if (error.name !== "AbortError") this.showRejection(error);
    }
  }

  async send() {
    if (this.button.getAttribute("aria-disabled") === "true") return;
    this.estimate?.abort();
    clearTimeout(this.timer);
    if (!this.isValid()) return;
    this.disable("Submitting ...");
    try {
      const headers = { "Idempotency-Key": this.key };
      const created = await requestJson(this.path, { method: "POST", body: this.read(), headers });
      await navigate(this.page(created));
    } catch (error) {
      // If the response was lost, the request may have been executed: a retry sends the same key.
      if (isRejected(error)) this.key = createIdempotencyKey();
      this.showCurl();
      this.showRejection(error);
      element("form-errors").scrollIntoView({ block: "nearest" });
    }
  }

  showRejection(error) {
    if (error instanceof ApiError && error.errors.length) this.show(error.errors, []);
    else this.show([{ pointer: null, detail: error.message }], []);
  }

  show(errors, terms) {
    clearErrors(this.form);
    const cost = build("dl");
    cost.append(...terms.map(([term, text]) => {
      const pair = build("div");
      pair.append(build("dt", term), build("dd", text));
      return pair;
    }));
    element("cost").replaceChildren(errors.length ? build("p", "Fix the errors below to see the cost estimate.") : cost);
    element("form-errors").hidden = errors.length === 0;
    element("form-errors").replaceChildren(...errors.map((error) => this.buildErrorLine(error)));
    const fields = errors.filter((error) => error.pointer !== null).length;
    if (fields) this.disable(`Fix ${formatCount(fields, "field")} first.`);
    else this.enable();
  }

  // Shows the error at its field, and returns a line that links to the field.
  buildErrorLine(error) {
    const [scope, pointer] = error.pointer === null ? [null, ""] : this.resolve(error.pointer);
    const target = error.target ?? (scope && findTarget(scope, pointer));
    if (!target) return build("p", error.pointer ? `${error.pointer}: ${error.detail}` : error.detail);
    const input = showError(target, error.detail);
    const line = build("p");
    const link = build("button", target.querySelector("label, b, h3")?.textContent.trim() ?? error.pointer);
    link.type = "button";
    link.className = "link";
    link.addEventListener("click", () => {
      for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
      input?.focus();
    });
    line.append(link, `: ${error.detail}`);
    return line;
  }

  disable(reason) {
    this.button.setAttribute("aria-disabled", "true");
    element("submit-reason").textContent = reason;
  }

  enable() {
    this.button.removeAttribute("aria-disabled");
    element("submit-reason").textContent = "";
  }
}

function build(tag, text = "") {
  const created = document.createElement(tag);
  created.textContent = text;
  return created;
}

export const bytes = (count) => `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;

export function seconds(count) {
  if (count === null) return "unknown until a job has finished here";
  if (count < 1) return "under a second";
  if (count < 60) return `about ${Math.round(count)} s`;
  const minutes = Math.round(count / 60);
  if (minutes < 60) return `about ${minutes} min`;
  return `about ${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const compact = (value) => new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
