// One job: its curves as they grow, and what can be asked of it.

import { ask } from "./api.js";
import { showTraining } from "./charts.js";
import { copies } from "./insecure.js";
import { refresh } from "./live.js";

const element = (id) => document.getElementById(id);
const standing = () => element("standing").dataset;
const address = `/v1/jobs/${standing().job}`;

let epochs = [];
let drawn = null;

function draw() {
  drawn ??= requestAnimationFrame(() => {
    drawn = null;
    const kept = Number(standing().reported) || null;
    for (const measure of ["loss", "accuracy"]) showTraining(element(measure), epochs, measure, kept);
  });
}

// An epoch that is trained again, because a worker was lost, stands in the place of the first.
function add(epoch) {
  epochs = [...epochs.filter((each) => each.epoch < epoch.epoch), epoch];
  draw();
}

async function say(request) {
  element("said").textContent = "";
  try {
    await request();
    await refresh();
    follow();
  } catch (error) {
    element("said").textContent = error.message;
  }
}

document.addEventListener("click", async ({ target }) => {
  const { post } = target.dataset;
  if (!post || (post.endsWith("/cancel") && !confirm("End this job? What it has learned is lost."))) return;
  await say(async () => {
    const answer = await ask(post, { method: "POST" });
    if (post.endsWith("/retry")) location.assign(`/jobs/${answer.id}`);
  });
});

copies(element("copy-curl"), () => element("curl").textContent);

let stream = null;

// The browser comes again by itself, with the id of the last message that it has.
function follow() {
  if (stream || ["succeeded", "failed", "cancelled"].includes(standing().state)) return;
  stream = new EventSource(`${address}/events`);
  stream.addEventListener("epoch", ({ data }) => add(JSON.parse(data)));
  for (const kind of ["progress", "change"]) stream.addEventListener(kind, () => refresh().catch(() => {}));
  stream.addEventListener("end", async () => {
    stream.close();
    stream = null;
    await refresh();
    draw();
  });
}

try {
  epochs = (await ask(`${address}/epochs`)).items;
} catch (error) {
  element("said").textContent = error.message;
}
draw();
follow();
