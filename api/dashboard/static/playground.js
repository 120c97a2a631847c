// A drawn digit, and what two models make of it while it is being drawn.

import { ask } from "./api.js";
import { pause } from "./live.js";

const element = (id) => document.getElementById(id);
const pad = element("pad");
const ink = pad.getContext("2d", { willReadFrequently: true });
const sides = [...document.querySelectorAll("[data-side]")];
const PEN = 20;
// Between two requests, in milliseconds: quick enough for the eye.
const GAP = 80;
// Strokes of ready digits, in a square of 100.
const READY = [
  "M50 15 C24 15 24 85 50 85 C76 85 76 15 50 15",
  "M38 30 L53 15 L53 85",
  "M28 34 C30 10 72 10 70 36 C68 53 40 66 28 83 L74 83",
  "M30 22 C45 8 72 16 68 34 C65 46 52 48 46 48 C60 48 74 55 71 70 C67 90 36 90 28 76",
  "M34 15 L29 52 L70 52 M64 18 L60 86",
  "M70 16 L38 16 L34 46 C48 38 72 42 71 64 C70 88 38 90 28 77",
  "M64 15 C40 24 29 50 31 67 C33 88 68 90 69 69 C70 50 42 48 32 64",
  "M26 18 L73 18 C60 40 50 60 44 86",
  "M50 48 C28 42 30 15 50 15 C70 15 72 42 50 48 C24 54 26 86 50 86 C74 86 76 54 50 48",
  "M69 36 C66 56 32 54 32 34 C32 12 68 12 69 34 C70 55 64 70 56 86",
];

// ---- drawing: light ink on black, as the training images have it

let file = null;
let blank = true;
let from = null;

function wipe() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, pad.width, pad.height);
  ink.strokeStyle = ink.fillStyle = "#fff";
  ink.lineWidth = PEN;
  ink.lineCap = ink.lineJoin = "round";
  file = null;
  blank = true;
}

const place = (event) => {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
};

function stroke(to) {
  if (file) wipe();
  ink.beginPath();
  ink.moveTo(...(from ?? to));
  ink.lineTo(...to);
  ink.stroke();
  from = to;
  blank = false;
  answer();
}

pad.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  from = null;
  stroke(place(event));
});
pad.addEventListener("pointermove", (event) => {
  if (!pad.hasPointerCapture(event.pointerId)) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) stroke(place(each));
});
pad.addEventListener("pointerup", () => { from = null; });

function drawReady(digit) {
  wipe();
  ink.save();
  ink.scale(pad.width / 100, pad.height / 100);
  ink.lineWidth = PEN / (pad.width / 100);
  ink.stroke(new Path2D(READY[digit]));
  ink.restore();
  blank = false;
  answer();
}

function clear() {
  wipe();
  answer();
}

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-9]$/.test(event.key)) drawReady(Number(event.key));
  else if (["Backspace", "Delete", "Escape"].includes(event.key)) clear();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-digit]"))
  button.addEventListener("click", () => drawReady(Number(button.dataset.digit)));
element("clear").addEventListener("click", clear);
element("upload").addEventListener("change", async ({ target }) => {
  const [chosen] = target.files;
  target.value = "";
  if (!chosen) return;
  wipe();
  try {
    const image = await createImageBitmap(chosen);
    const scale = Math.min(pad.width / image.width, pad.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    ink.drawImage(image, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  } catch {
    trouble("This browser cannot show that image; the models are asked all the same.");
  }
  file = chosen;
  blank = false;
  answer();
});

// ---- answers: one request at a time, and always one more for what was drawn meanwhile

let asking = false;
let again = false;

async function answer() {
  again = true;
  if (asking) return;
  asking = true;
  while (again) {
    again = false;
    await (blank ? forget() : predict());
    await pause(GAP);
  }
  asking = false;
}

async function predict() {
  const body = file ?? (await new Promise((take) => { pad.toBlob(take, "image/png"); }));
  const models = sides.map((side) => side.querySelector(".model").value);
  const query = new URLSearchParams([...models.map((id) => ["job", id]), ["include", "images"]]);
  try {
    const found = await ask(`/v1/predict?${query}`, { method: "POST", body });
    trouble("");
    if (blank) return;
    const predictions = models.map((id) => found.items.find((item) => item.job_id === id).predictions[0]);
    sides.forEach((side, index) => show(side, predictions[index]));
    compare(predictions);
    showSeen(found.images[0]);
  } catch (error) {
    trouble(error.errors?.length ? error.errors.map((each) => each.detail).join("; ") : error.message);
  }
}

function forget() {
  for (const side of sides) {
    side.querySelector(".digit").textContent = "\u2013";
    side.querySelector(".confidence").textContent = "Nothing is drawn yet.";
    for (const bar of side.querySelectorAll(".bars li")) setBar(bar, null, false);
  }
  element("seen").hidden = element("compared").hidden = true;
}

const percent = (share) => (share > 0.9999 ? "over 99.99 %" : `${(100 * share).toFixed(share > 0.99 ? 2 : 1)} %`);

function show(side, { label, confidence, probabilities }) {
  side.querySelector(".digit").textContent = label;
  side.querySelector(".confidence").textContent = `with a confidence of ${percent(confidence)}`;
  side.querySelectorAll(".bars li").forEach((bar, digit) => setBar(bar, probabilities[digit], digit === label));
}

function setBar(bar, share, first) {
  bar.classList.toggle("first", first);
  bar.querySelector(".fill").style.width = `${100 * (share ?? 0)}%`;
  bar.querySelector(".value").textContent = share === null ? "\u00a0" : `${(100 * share).toFixed(1)} %`;
}

function compare([one, other]) {
  element("compared").hidden = false;
  const [first, second] = sides.map((side) => side.querySelector("h2").textContent);
  if (one.label !== other.label)
    element("compared").textContent = `They disagree: ${first} says ${one.label}, ${second} says ${other.label}.`;
  else {
    const points = 100 * Math.abs(one.confidence - other.confidence);
    const surer = one.confidence > other.confidence ? first : second;
    element("compared").textContent = points < 0.05 ? `Both say ${one.label}, and are equally sure.`
      : `Both say ${one.label}; ${surer} is surer by ${points.toFixed(1)} points.`;
  }
}

function showSeen(rows) {
  const target = element("seen-pad").getContext("2d");
  const image = target.createImageData(28, 28);
  rows.flat().forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  target.putImageData(image, 0, 0);
  element("seen").hidden = false;
}

function trouble(sentence) {
  element("trouble").textContent = sentence;
  element("trouble").hidden = sentence === "";
}

// ---- which models; the address keeps them

function choose(side) {
  const select = side.querySelector(".model");
  const { techniques, accuracy } = select.selectedOptions[0].dataset;
  side.querySelector(".model-about").textContent = `${techniques}; ${accuracy} of the test images classified correctly`;
  side.querySelector(".model-link").href = `/jobs/${select.value}`;
}

function keepInAddress() {
  const chosen = sides.map((side) => [side.dataset.side, side.querySelector(".model").value]);
  history.replaceState(null, "", `?${new URLSearchParams(chosen)}`);
}

for (const side of sides) {
  choose(side);
  side.querySelector(".model").addEventListener("change", () => {
    choose(side);
    keepInAddress();
    if (!blank) answer();
  });
}
// The pair that the service has chosen too: tomorrow it may choose another.
keepInAddress();
wipe();
