// The service's HTTP: uploads with progress, events of a job, its views, report and result.

const TOKEN = "amir.token";

/** What went wrong, in the service's words: status, stable code, title, detail, request. */
export class Problem extends Error {
  constructor({ status = 0, code = "unreachable", title = "", detail = "", request_id: request = "" }) {
    super(detail || title);
    Object.assign(this, { status, code, title, detail, request });
  }
}

/** The token of the link's fragment, which no server sees; it is taken out of the address at once. */
export function takeTokenFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  setToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const token = () => sessionStorage.getItem(TOKEN) ?? "";
export const setToken = (value) => sessionStorage.setItem(TOKEN, value);

const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!response.ok) throw await problemOf(response.status, await response.text());
  return response;
}

export const askJson = async (path) => (await ask(path)).json();

/** Uploads a file; onSent is told the share that has left. Returns the job. */
export function submit(blob, contentType, query, onSent) {
  const request = new XMLHttpRequest();
  const entries = Object.entries(query).filter(([, value]) => value !== "");
  request.open("POST", `v1/jobs?${new URLSearchParams(entries)}`);
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.setRequestHeader("Content-Type", contentType);
  request.setRequestHeader("Idempotency-Key", randomKey());
  request.upload.addEventListener("progress", (event) => onSent(event.loaded / Math.max(1, event.total)));
  return new Promise((resolve, reject) => {
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText));
    });
    request.send(blob);
  });
}

/** Tells onChange of a job until it is final; a stream that breaks off is taken up again. */
export async function follow(jobId, onChange) {
  let last = "";
  for (let failures = 0; failures < 6; failures++) {
    try {
      const response = await ask(`v1/jobs/${jobId}/events`, { headers: last ? { "Last-Event-ID": last } : {} });
      for await (const event of eventsOf(response.body)) {
        failures = 0;
        last = event.id;
        const job = JSON.parse(event.data);
        onChange(job);
        if (job.state === "done" || job.state === "failed") return job;
      }
    } catch (error) {
      if (error instanceof Problem && error.status >= 400 && error.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
  }
  throw unreachable();
}

async function* eventsOf(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: "", data: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, name, text] = line.match(/^(\w*): ?(.*)$/) ?? [];
        if (name in event) event[name] += text;
      }
      if (event.data) yield event;
    }
  }
}

function problemOf(status, text) {
  try {
    return new Problem({ status, ...JSON.parse(text) });
  } catch {
    return new Problem({ status, code: "unknown", title: `The service answered ${status}` });
  }
}

function unreachable() {
  return new Problem({ title: "The service does not answer", detail: "Check the connection, then try again." });
}

// crypto.randomUUID is missing where the page is served over plain HTTP from another machine.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
