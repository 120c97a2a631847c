// Forms made of a specification's fields (api/dashboard/forms.py): read into a document, filled from one,
// and the service's faults shown at the fields that they point to.

const pointerParts = (pointer) =>
  pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

export function get(document, pointer) {
  return pointerParts(pointer).reduce((value, part) => value?.[part], document);
}

export function put(document, pointer, value) {
  const parts = pointerParts(pointer);
  const last = parts.pop();
  const within = parts.reduce((object, part) => (object[part] ??= {}), document);
  within[last] = value;
}

export const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// What turns `from` into `to` as a JSON merge patch (RFC 7396).
export function patch(from, to) {
  const found = {};
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    if (!(name in to)) found[name] = null;
    else if (isObject(from[name]) && isObject(to[name])) {
      const below = patch(from[name], to[name]);
      if (Object.keys(below).length) found[name] = below;
    } else if (!equal(from[name], to[name])) found[name] = to[name];
  }
  return found;
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// ---- one field

const inputOf = (field) => field.querySelector(".value");
export const defaultOf = (field) => JSON.parse(field.dataset.default);

// What is no number goes to the service as it was typed: its answer says what is wrong with it.
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);

export function valueOf(field) {
  const input = inputOf(field);
  const text = input.value.trim();
  switch (field.dataset.kind) {
    case "boolean": return input.checked;
    case "numbers": return text.split(/[\s,]+/).filter(Boolean).map(number);
    case "number": case "integer": return text === "" ? null : number(text);
    case "choice": return typeof defaultOf(field) === "number" ? Number(text) : text;
    default: return text === "" ? null : text;
  }
}

export function setValue(field, value) {
  const input = inputOf(field);
  if (field.dataset.kind === "boolean") input.checked = value;
  else input.value = Array.isArray(value) ? value.join(", ") : value === null ? "" : shortest(value);
  followField(field);
}

const shortest = (value) => (typeof value === "number" ? Number(value.toPrecision(10)).toString() : value);

// ---- sliders: a hand for the number field beside, which is what counts

const positionOf = (slider, value) => {
  if (slider.dataset.scale !== "log") return value;
  const [minimum, maximum] = [Number(slider.dataset.minimum), Number(slider.dataset.maximum)];
  if (!(value > 0)) return 0;
  return (Math.log(value / minimum) / Math.log(maximum / minimum)) * 1000;
};

const valueAt = (slider, whole) => {
  const position = Number(slider.value);
  if (slider.dataset.scale !== "log") return position;
  const [minimum, maximum] = [Number(slider.dataset.minimum), Number(slider.dataset.maximum)];
  const value = minimum * (maximum / minimum) ** (position / 1000);
  return whole ? Math.round(value) : Number(value.toPrecision(2));
};

function followField(field) {
  const slider = field.querySelector(".slider");
  if (!slider) return;
  const value = valueOf(field);
  slider.value = typeof value === "number" ? positionOf(slider, value) : 0;
  slider.setAttribute("aria-valuetext", inputOf(field).value || "as it is");
}

function followSlider(field) {
  const slider = field.querySelector(".slider");
  inputOf(field).value = shortest(valueAt(slider, field.dataset.kind === "integer"));
  slider.setAttribute("aria-valuetext", inputOf(field).value);
}

// ---- a whole form

const fieldsOf = (scope) => [...scope.querySelectorAll(".field[data-kind]")];
const techniqueOf = (field) => field.closest("[data-technique]");
const switchedOn = (card) => card.querySelector(".switch")?.checked ?? true;
const asleep = (field) => {
  const card = techniqueOf(field);
  return field.closest("[data-when][hidden]") !== null || (card !== null && !switchedOn(card));
};

// Groups of fields that count only while another field has a certain value.
export function showWhatCounts(scope) {
  for (const group of scope.querySelectorAll("[data-when]")) {
    const [pointer, value] = group.dataset.when.split("=");
    const decisive = scope.querySelector(`.field[data-pointer="${pointer}"]`);
    group.hidden = String(valueOf(decisive)) !== value;
  }
  for (const card of scope.querySelectorAll("[data-technique]")) {
    const body = card.querySelector(".technique-controls");
    if (body && card.querySelector(".switch")) body.hidden = !switchedOn(card);
    card.classList.toggle("on", switchedOn(card));
  }
}

// The document that the fields say, without what is as it would be anyway; `whole(name)`: techniques of
// which every parameter is written all the same.
export function read(scope, whole = () => false) {
  const document = {};
  for (const card of scope.querySelectorAll("[data-technique]"))
    if (switchedOn(card)) put(document, card.dataset.pointer, {});
  for (const field of fieldsOf(scope)) {
    if (asleep(field)) continue;
    const value = valueOf(field);
    const card = techniqueOf(field);
    const always = card !== null && whole(card.dataset.technique);
    if (always || !equal(value, defaultOf(field))) put(document, field.dataset.pointer, value);
  }
  return document;
}

export function fill(scope, document) {
  for (const card of scope.querySelectorAll("[data-technique]")) {
    const control = card.querySelector(".switch");
    if (control) control.checked = isObject(get(document, card.dataset.pointer));
  }
  for (const field of fieldsOf(scope)) {
    const value = get(document, field.dataset.pointer);
    setValue(field, value === undefined ? defaultOf(field) : value);
  }
  showWhatCounts(scope);
}

// Puts sliders and groups where the fields have them, as the page was sent.
export function settle(scope) {
  fieldsOf(scope).forEach(followField);
  showWhatCounts(scope);
}

// Calls `changed` whenever anything in the form is another than before.
export function listen(form, changed) {
  form.addEventListener("input", (event) => {
    const field = event.target.closest(".field[data-kind]");
    if (field) event.target.matches(".slider") ? followSlider(field) : followField(field);
    showWhatCounts(form);
    changed();
  });
}

// ---- what is wrong with it, as the form itself knows

function checkBounds(field) {
  const [value, { kind, minimum, maximum }] = [valueOf(field), field.dataset];
  let fault = "";
  if (typeof value === "string" && ["number", "integer"].includes(kind)) fault = "Input should be a valid number";
  else if (kind === "integer" && value !== null && !Number.isInteger(value)) fault = "Input should be a valid integer";
  else if (value !== null && value < Number(minimum)) fault = `Input should be greater than or equal to ${minimum}`;
  else if (value !== null && value > Number(maximum)) fault = `Input should be less than or equal to ${maximum}`;
  inputOf(field).setCustomValidity(fault);
  return inputOf(field).checkValidity();
}

// Of the fields that count, those that no service needs to be asked about.
export const ownFaults = (form) => fieldsOf(form).filter((field) => !asleep(field) && !checkBounds(field))
  .map((place) => ({ place, pointer: place.dataset.pointer, detail: inputOf(place).validationMessage }));

// ---- what the service says about it

export function clearFaults(form) {
  for (const fault of form.querySelectorAll(".fault")) {
    fault.hidden = true;
    fault.textContent = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

// Where a fault is shown: the field that `pointer` names within `scope`, or the nearest thing around it.
export function placeOf(scope, pointer) {
  for (let at = pointer; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = [...scope.querySelectorAll("[data-pointer]")].filter((each) => each.dataset.pointer === at);
    const awake = found.find((each) => each.closest("[data-when][hidden]") === null);
    if (awake) return awake;
  }
  return null;
}

export function showFault(place, detail) {
  const line = place.querySelector(".fault");
  line.hidden = false;
  line.textContent = line.textContent ? `${line.textContent}; ${detail}` : detail;
  const input = place.querySelector(".value, .switch");
  input?.setAttribute("aria-invalid", "true");
  return input;
}
