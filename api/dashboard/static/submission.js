// What stands beside both forms: the cost as one types, the service's faults, the button, the shell line.

import { ask, isFinal, leave, Refusal } from "./api.js";
import { clearFaults, ownFaults, placeOf, showFault } from "./controls.js";
import { copies, randomKey } from "./insecure.js";

const PAUSE = 300;
const element = (id) => document.getElementById(id);

function shellLine(body) {
  return `${element("curl").dataset.command} '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
}

// `options`: form; path, where the document is posted; read(), the document; words(cost), what is shown of a
// cost as [term, text] pairs; scopeOf(pointer), [the element that a fault's pointer lies in, the pointer from
// there on]; page(answer), where to go when it was taken; address(document), this page's own query.
export class Submission {
  constructor(options) {
    Object.assign(this, options);
    this.submit = element("submit");
    this.submit.addEventListener("click", (event) => { event.preventDefault(); this.send(); });
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    copies(element("copy-curl"), () => element("curl").textContent);
    copies(element("copy-link"), () => location.href);
    // Back from what it led to, the form is as it was left, and what it sends now is another request.
    addEventListener("pageshow", ({ persisted }) => { if (persisted) this.changed(); });
  }

  // The form has changed: show the line that does the same, and ask the cost after a short pause.
  changed() {
    this.key = randomKey();
    this.document = this.read();
    element("curl").textContent = shellLine(this.document);
    history.replaceState(null, "", `${location.pathname}${this.address(this.document)}`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.cost(), PAUSE);
  }

  // Says what is wrong where the form itself knows it: asked, the service would only refuse it.
  isWrong() {
    const faults = ownFaults(this.form);
    if (faults.length) this.show(faults, []);
    return faults.length > 0;
  }

  async cost() {
    this.asking?.abort();
    if (this.isWrong()) return;
    this.asking = new AbortController();
    try {
      const cost = await ask(`${this.path}?dry_run=true`, {
        method: "POST", body: this.document, signal: this.asking.signal,
      });
      this.show([], this.words(cost));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.refused(error);
    }
  }

  async send() {
    if (this.submit.getAttribute("aria-disabled") === "true") return;
    this.asking?.abort();
    clearTimeout(this.timer);
    if (this.isWrong()) return;
    this.hold("Being sent ...");
    try {
      const headers = { "Idempotency-Key": this.key };
      const taken = await ask(this.path, { method: "POST", body: this.read(), headers });
      await leave(this.page(taken));
    } catch (error) {
      // What nobody answered may have been taken all the same: sent again it has the same key.
      if (isFinal(error)) this.key = randomKey();
      this.refused(error);
      element("faults").scrollIntoView({ block: "nearest" });
    }
  }

  refused(error) {
    if (error instanceof Refusal && error.errors.length) this.show(error.errors, []);
    else this.show([{ pointer: null, detail: error.message }], []);
  }

  show(faults, words) {
    clearFaults(this.form);
    const terms = words.flatMap(([term, text]) => [make("dt", term), make("dd", text)]);
    const cost = make("dl");
    cost.append(...terms);
    element("cost").replaceChildren(faults.length ? make("p", "There is no cost estimate as long as something is wrong.") : cost);
    element("faults").hidden = faults.length === 0;
    element("faults").replaceChildren(...faults.map((fault) => this.line(fault)));
    const fields = faults.filter((fault) => fault.pointer !== null).length;
    if (fields) this.hold(fields === 1 ? "One field has to be changed first." : `${fields} fields have to be changed first.`);
    else this.release();
  }

  line(fault) {
    const [scope, pointer] = fault.pointer === null ? [null, ""] : this.scopeOf(fault.pointer);
    const place = fault.place ?? (scope && placeOf(scope, pointer));
    if (!place) return make("p", fault.pointer ? `${fault.pointer}: ${fault.detail}` : fault.detail);
    const input = showFault(place, fault.detail);
    const line = make("p");
    const link = make("button", place.querySelector("label, b, h3")?.textContent.trim() ?? fault.pointer);
    link.type = "button";
    link.className = "link";
    link.addEventListener("click", () => {
      for (let box = place.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
      input?.focus();
    });
    line.append(link, `: ${fault.detail}`);
    return line;
  }

  hold(reason) {
    this.submit.setAttribute("aria-disabled", "true");
    element("submit-reason").textContent = reason;
  }

  release() {
    this.submit.removeAttribute("aria-disabled");
    element("submit-reason").textContent = "";
  }
}

function make(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

export const bytes = (count) => `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;

export function seconds(count) {
  if (count === null) return "not known until a job has finished here";
  if (count < 1) return "under a second";
  if (count < 60) return `about ${Math.round(count)} s`;
  const minutes = Math.round(count / 60);
  if (minutes < 60) return `about ${minutes} min`;
  return `about ${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
export const count = (number) => number.toLocaleString("en");
export const compact = (number) => SHORT.format(number);
