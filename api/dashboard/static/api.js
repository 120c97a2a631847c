export class Refusal extends Error {
  constructor(problem) { super(problem.detail); this.errors = problem.errors ?? []; this.status = problem.status; }
}
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const raw = body instanceof Blob;
  const answer = await fetch(path, { method, signal, headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": raw ? body.type : "application/json" }), ...headers }, body: raw || body === undefined ? body : JSON.stringify(body) });
  const document = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Refusal(document);
  return document;
}
