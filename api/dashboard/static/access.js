// The pages of API keys and of webhooks: their forms, and the buttons of their rows.

import { post, requestJson, runUnlessBusy } from "./api.js";
import { poll, refresh } from "./live-update.js";

const POLL_MILLISECONDS = 5000;
const element = (id) => document.getElementById(id);

async function run(button, action) {
  element("status").textContent = "";
  await runUnlessBusy(button, async () => {
    try {
      await action();
      await refresh();
    } catch (error) {
      element("status").textContent = error.errors?.length ? error.errors.map(({ detail }) => detail).join("; ") : error.message;
    }
  });
}

function addForm(id, path, read, getSecret) {
  element(id)?.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    run(form, async () => {
      const created = await post(path, read(new FormData(form)));
      element("secret").querySelector("code").textContent = getSecret(created);
      element("secret").hidden = false;
      form.reset();
    });
  });
}

addForm("new-key", "/v1/keys", (data) => ({
  name: data.get("name"),
  owner: data.get("owner"),
  scope: data.get("scope"),
  expires_days: data.get("expires_days") ? Number(data.get("expires_days")) : null,
}), ({ key }) => key);
addForm("new-webhook", "/v1/webhooks", (data) => ({
  url: data.get("url"),
  states: data.getAll("states"),
  experiments: data.has("experiments"),
}), ({ secret }) => secret);

document.addEventListener("click", ({ target }) => {
  const { post: posted, delete: deleted, confirm } = target.dataset;
  if ((!posted && !deleted) || (confirm && !window.confirm(confirm))) return;
  run(target, () => (posted ? post(posted) : requestJson(deleted, { method: "DELETE" })));
});

if (element("webhooks")) poll(POLL_MILLISECONDS, () => true, refresh);
