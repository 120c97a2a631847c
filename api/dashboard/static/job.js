// One job: its curves as they grow, and its actions.

import { navigate, post, requestJson, runUnlessBusy } from "./api.js";
import { showTraining } from "./charts.js";
import { addCopyAction } from "./clipboard.js";
import { refresh, sleep, watchWorker } from "./live-update.js";
import { addRoot } from "./root-path.js";

const element = (id) => document.getElementById(id);
const progress = () => element("progress").dataset;
const address = `/v1/jobs/${progress().job}`;
const RETRY_MILLISECONDS = 2000;
const NOT_FOUND = 404;

let epochs = [];
let frame = null;

function draw() {
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
  if (stream || ["succeeded", "failed", "cancelled"].includes(progress().state)) return;
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
