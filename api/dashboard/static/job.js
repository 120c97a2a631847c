// One job: its curves as they grow, and what can be asked of it.

import { ask, change, leave, once } from "./api.js";
import { showTraining } from "./charts.js";
import { copies } from "./insecure.js";
import { pause, refresh, sayWhoIsMissing } from "./live.js";

const element = (id) => document.getElementById(id);
const standing = () => element("standing").dataset;
const address = `/v1/jobs/${standing().job}`;
const AGAIN_MILLISECONDS = 2000;
const GONE = 404;

let epochs = [];
let drawn = null;

function draw() {
  drawn ??= requestAnimationFrame(() => {
    drawn = null;
    const kept = Number(standing().reported) || null;
    for (const metric of ["loss", "accuracy"]) showTraining(element(metric), epochs, metric, kept);
  });
  sayWhatComesAgain();
}

// Whoever goes on begins at the last checkpoint, which may lie before what is drawn.
function sayWhatComesAgain() {
  const { state, epoch } = standing();
  const again = ["paused", "queued"].includes(state) && epochs.length > 0 && epochs.at(-1).epoch > Number(epoch);
  element("again").textContent = again ? `The epochs after ${epoch} will be trained again: it goes on from the last checkpoint.` : "";
}

async function load() {
  epochs = (await ask(`${address}/epochs`)).items;
  draw();
}

// An epoch that is trained again, because a worker was lost, stands in the place of the first.
function add(epoch) {
  epochs = [...epochs.filter((each) => each.epoch < epoch.epoch), epoch];
  draw();
}

document.addEventListener("click", ({ target }) => {
  const { post } = target.dataset;
  if (!post || (post.endsWith("/cancel") && !confirm("End this job? What it has learned is lost."))) return;
  once(target, async () => {
    element("said").textContent = "";
    try {
      const answer = await change(post);
      if (post.endsWith("/retry")) await leave(`/jobs/${answer.id}`);
      await refresh();
      sayWhatComesAgain();
      follow();
    } catch (error) {
      element("said").textContent = error.message;
    }
  });
});

copies(element("copy-curl"), () => element("curl").textContent);

let stream = null;

// The browser comes again by itself, with the id of the last message that it has, unless it was refused.
function follow() {
  if (stream || ["succeeded", "failed", "cancelled"].includes(standing().state)) return;
  stream = new EventSource(`${address}/events`);
  stream.addEventListener("epoch", ({ data }) => add(JSON.parse(data)));
  for (const kind of ["progress", "change"]) stream.addEventListener(kind, () => refresh().then(sayWhatComesAgain, () => {}));
  stream.addEventListener("end", () => { stop(); catchUp(); });
  // Why, the reading says at the top of the page.
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) {
      stop();
      pause(AGAIN_MILLISECONDS).then(catchUp);
    } else refresh().catch(() => {});
  });
}

function stop() {
  stream.close();
  stream = null;
}

// Everything anew, and on from there; again and again as long as nobody answers.
async function catchUp() {
  try {
    await refresh();
    await load();
    follow();
  } catch (error) {
    if (error.status !== GONE) pause(AGAIN_MILLISECONDS).then(catchUp);
  }
}

try {
  await load();
} catch (error) {
  element("said").textContent = error.message;
}
follow();
sayWhoIsMissing(element("said"), () => standing().state === "queued");
