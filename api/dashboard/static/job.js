// One job: its curves as they grow, and its actions.

import { navigate, post, requestJson, runUnlessBusy } from "./api.js";
import { showTraining } from "./charts.js";
import { addCopyAction } from "./clipboard.js";
import { h } from "./elements.js";
import { refresh, sleep, watchWorker } from "./live-update.js";
import { addRoot } from "./root-path.js";

const element = (id) => document.getElementById(id);
const progress = () => element("progress").dataset;
const address = `/v1/jobs/${progress().job}`;
const RETRY_MILLISECONDS = 2000;
const NOT_FOUND = 404;

let epochs = [];
const hasEnded = () => ["succeeded", "failed", "cancelled"].includes(progress().state);
let frame = null;

function draw() {
  element("curves").hidden = hasEnded() && !epochs.length;
  frame ??= requestAnimationFrame(() => {
    frame = null;
    const reported = Number(progress().reported) || null;
    for (const metric of ["loss", "accuracy"]) showTraining(element(metric), epochs, metric, reported);
  });
  showRewind();
}

// Training resumes from the last checkpoint, which may be older than the last epoch that is drawn.
function showRewind() {
  const { state, epoch } = progress();
  const rewinds = ["paused", "queued"].includes(state) && epochs.length > 0 && epochs.at(-1).epoch > Number(epoch);
  element("rewind").textContent = rewinds ? `The epochs after ${epoch} will be trained again: training resumes from the last checkpoint.` : "";
}

async function load() {
  epochs = (await requestJson(`${address}/epochs`)).items;
  draw();
  await loadMistakes();
}

// Loaded once there is a result: the images are drawn from the model's stored predictions.
async function loadMistakes() {
  const section = element("mistakes");
  if (!section || section.dataset.loaded) return;
  section.dataset.loaded = "true";
  const names = JSON.parse(section.dataset.names);
  const getName = (label) => names[label] ?? label;
  const mistakes = (await requestJson(`/jobs/${progress().job}/mistakes`)).filter(({ picture }) => picture);
  section.querySelector("div").replaceChildren(...mistakes.map(({ index, label, answer, probability, picture }) =>
    h("figure", {}, h("img", { src: picture, width: 84, height: 84, alt: `Test image ${index}` }),
      h("figcaption", {}, `${getName(label)}, not ${getName(answer)}`, h("br"), h("span", { class: "help" }, `${(100 * probability).toFixed(1)} % sure`)))));
  section.hidden = !mistakes.length;
}

// After a lost worker epochs are trained again, and replace those of the first attempt.
function add(epoch) {
  epochs = [...epochs.filter((earlier) => earlier.epoch < epoch.epoch), epoch];
  draw();
}

document.addEventListener("click", ({ target }) => {
  const path = target.dataset.post;
  if (!path || (path.endsWith("/cancel") && !confirm("Cancel this job? Its training progress is lost."))) return;
  runUnlessBusy(target, async () => {
    element("status").textContent = "";
    try {
      const job = await post(path);
      if (path.endsWith("/retry")) await navigate(`/jobs/${job.id}`);
      await refresh();
      showRewind();
      subscribe();
    } catch (error) {
      element("status").textContent = error.message;
    }
  });
});

addCopyAction(element("copy-curl"), () => element("curl").textContent);

let stream = null;

// The browser reconnects by itself, with the id of the last event, unless the service refuses the stream.
function subscribe() {
  if (stream || hasEnded()) return;
  stream = new EventSource(addRoot(`${address}/events`));
  stream.addEventListener("epoch", ({ data }) => add(JSON.parse(data)));
  for (const type of ["progress", "change"]) stream.addEventListener(type, () => refresh().then(showRewind, () => {}));
  stream.addEventListener("end", () => { unsubscribe(); reload(); });
  // The refresh shows the reason in the banner.
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) {
      unsubscribe();
      sleep(RETRY_MILLISECONDS).then(reload);
    } else refresh().catch(() => {});
  });
}

function unsubscribe() {
  stream.close();
  stream = null;
}

// Loads everything again and subscribes; retries until the service answers or the job is deleted.
async function reload() {
  try {
    await refresh();
    await load();
    subscribe();
  } catch (error) {
    if (error.status !== NOT_FOUND) sleep(RETRY_MILLISECONDS).then(reload);
  }
}

try {
  await load();
} catch (error) {
  element("status").textContent = error.message;
}
subscribe();
watchWorker(element("status"), () => progress().state === "queued");
