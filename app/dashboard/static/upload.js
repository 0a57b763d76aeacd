/** Sends chosen or dropped ECG files to the REST interface, one recording after the other, and tells how each fared. */

const input = document.getElementById("files");
const drop = document.querySelector(".drop");
const list = document.getElementById("uploads");

/**
 * The recordings among some files: a WFDB header takes the files that share its stem along, each other file is one.
 * @param {File[]} files
 * @returns {File[][]}
 */
function recordings(files) {
  const stem = (file) => file.name.replace(/\.[^.]*$/, "");
  const headers = new Set(files.filter((file) => file.name.toLowerCase().endsWith(".hea")).map(stem));
  const alone = files.filter((file) => !headers.has(stem(file))).map((file) => [file]);
  return [...[...headers].map((name) => files.filter((file) => stem(file) === name)), ...alone];
}

/** One file is the raw body; several are one multipart form. */
function body(files) {
  if (files.length === 1) return files[0];
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return form;
}

/** A new key for a request, under which a browser that repeats it gets the same answer; randomUUID is for https alone. */
function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `"${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}"`;
}

/**
 * @param {File[]} files the files of one recording
 * @param {URLSearchParams} stated what the sender states about them
 */
function post(files, stated) {
  const headers = { Prefer: "wait=10", Accept: "application/json", "Idempotency-Key": idempotencyKey() };
  if (files.length === 1) headers["Content-Type"] = files[0].type || "application/octet-stream";
  return fetch(`/v1/ecgs?${stated}`, { method: "POST", headers, body: body(files) });
}

/** The problem (RFC 9457) that an answer tells, or one that says that no sense can be made of it. */
async function problemOf(response) {
  if (response.headers.get("Content-Type")?.includes("json")) return response.json();
  return { title: "The service failed", detail: `its answer was ${response.status}`, advice: "Try again later." };
}

const UNREACHABLE = {
  title: "The service cannot be reached",
  detail: "the connection failed before there was an answer",
  advice: "Check the network and send the ECG again; sending twice does no harm.",
};

/** One line of the upload list. */
class Upload {
  constructor(files) {
    this.files = files;
    this.line = document.getElementById("upload").content.firstElementChild.cloneNode(true);
    this.part("name").textContent = files.map((file) => file.name).join(" + ");
    this.part("state").textContent = "waits for its turn";
    this.part("stated").addEventListener("submit", (event) => this.sendAgain(event));
    list.append(this.line);
  }

  part(name) {
    return this.line.querySelector(`[data-part="${name}"]`);
  }

  /** @returns {Promise<string | null>} the id of the study, or null where the ECG was refused */
  async send(stated = new URLSearchParams()) {
    this.show("", "is being sent and read…", true);
    try {
      const response = await post(this.files, stated);
      if (response.status === 401) location.assign("/login");
      if (!response.ok) return this.refuse(await problemOf(response));
      return this.accept(await response.json());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch reports a broken connection as a TypeError
      return this.refuse(UNREACHABLE);
    }
  }

  accept(study) {
    const link = Object.assign(document.createElement("a"), { href: `/studies/${study.id}`, textContent: "open the study" });
    this.show("accepted", study.status === "queued" ? "is kept and waits for the model: " : "is read: ", false);
    this.part("state").append(link);
    return study.id;
  }

  refuse({ type, title, detail, advice }) {
    this.show("refused", `${title}: ${sentence(detail)} ${advice}`, false);
    this.part("stated").hidden = type !== "/problems/missing-metadata";
    return null;
  }

  show(outcome, text, busy) {
    this.line.className = `message ${outcome}`;
    this.part("state").textContent = text;
    this.part("progress").hidden = !busy;
    this.part("stated").hidden = true;
  }

  async sendAgain(event) {
    event.preventDefault();
    const entries = [...new FormData(this.part("stated"))].filter(([, value]) => value);
    open(await this.send(new URLSearchParams(entries)));
  }
}

function sentence(text) {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function open(id) {
  if (id) location.assign(`/studies/${id}`);
}

/** A single recording leads to its study; of several, each line has a link. */
async function sendAll(files) {
  list.replaceChildren();
  const uploads = recordings(files).map((group) => new Upload(group));
  const ids = [];
  for (const upload of uploads) ids.push(await upload.send());
  if (ids.length === 1) open(ids[0]);
}

input.addEventListener("change", () => {
  sendAll([...input.files]);
  input.value = ""; // so that choosing the same file again is a change
});
// A file dropped beside the zone must not make the browser leave the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("dragover", () => drop.classList.add("over"));
for (const name of ["dragleave", "drop", "dragend"]) addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => sendAll([...event.dataTransfer.files]));
