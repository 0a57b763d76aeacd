/**
 * `<ecg-viewer src="…/waveform">`: a 12-lead ECG drawn to scale in SVG. The viewBox is in millimetres and the size in
 * CSS millimetres, so 25 mm/s and 10 mm/mV are exact at the CSS reference pixel (96 to the inch) and on paper.
 */

import { geometry } from "./ecg-geometry.js";

const SWITCHES = [
  { name: "layout", title: "Layout", choices: { "3x4": "3×4 + II", "12x1": "12×1" } },
  { name: "gain", title: "Gain", choices: { 5: "5", 10: "10", 20: "20" }, unit: "mm/mV", start: "10" },
  { name: "speed", title: "Speed", choices: { 25: "25", 50: "50" }, unit: "mm/s" },
  { name: "kind", title: "Signal", choices: { original: "As recorded", preprocessed: "As the model reads it" } },
];

class EcgViewer extends HTMLElement {
  #waveforms = new Map();

  connectedCallback() {
    this.form = html("form", { class: "switches", "aria-label": "Drawing" }, ...SWITCHES.map(switchOf));
    this.paper = html("div", { class: "paper", tabindex: "0", role: "region", "aria-label": "ECG paper" });
    this.note = html("p", { class: "paper-note", role: "status" });
    this.replaceChildren(this.form, this.paper, this.note);
    this.form.addEventListener("change", () => this.draw());
    this.draw();
  }

  get options() {
    const chosen = Object.fromEntries(new FormData(this.form));
    return { layout: chosen.layout, gain: Number(chosen.gain), speed: Number(chosen.speed), kind: chosen.kind };
  }

  async draw() {
    const { kind } = this.options;
    const { waveform, problem } = await this.#ask(kind);
    if (kind !== this.options.kind) return; // another signal was chosen meanwhile; its own call draws it
    this.toggleAttribute("data-refused", Boolean(problem));
    if (problem) {
      this.note.textContent = `${problem.title}: ${problem.detail}`;
      return;
    }
    const drawing = geometry(waveform, this.options);
    this.paper.replaceChildren(sheet(drawing, this.options, waveform));
    this.note.textContent = remark(drawing);
  }

  /** The waveform of one kind, or the problem (RFC 9457) that the service tells; a waveform is asked for once. */
  async #ask(kind) {
    if (!this.#waveforms.has(kind)) {
      const answer = await this.#fetch(`${this.getAttribute("src")}?kind=${kind}`);
      if (answer.problem) return answer;
      this.#waveforms.set(kind, answer);
    }
    return this.#waveforms.get(kind);
  }

  async #fetch(url) {
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      return response.ok ? { waveform: await response.json() } : { problem: await response.json() };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch reports a broken connection as a TypeError
      return { problem: { title: "The ECG cannot be drawn", detail: "the service cannot be reached" } };
    }
  }
}

function switchOf({ name, title, choices, unit, start = Object.keys(choices)[0] }) {
  const options = Object.entries(choices).map(([value, text]) => {
    const radio = html("input", { type: "radio", name, value });
    radio.defaultChecked = value === start;
    return html("label", {}, radio, html("span", {}, text));
  });
  const legend = html("legend", {}, unit ? `${title} (${unit})` : title);
  return html("fieldset", {}, legend, html("div", { class: "choices" }, ...options));
}

/** The whole sheet: grid, pulses, traces, names, and what was printed on it. */
function sheet(drawing, options, waveform) {
  const { width, height } = drawing;
  const size = { width: `${width}mm`, height: `${height}mm`, viewBox: `0 0 ${width} ${height}` };
  return svg(
    "svg",
    { class: "sheet", role: "img", "aria-label": summary(drawing, options, waveform), ...size },
    svg("path", { class: "minor", d: grid(width, height, 1) }),
    svg("path", { class: "major", d: grid(width, height, 5) }),
    ...drawing.pulses.map(({ d }) => svg("path", { class: "pulse", "data-calibration": "1 mV, 200 ms", d })),
    ...drawing.traces.flatMap(lead),
    svg("text", { class: "printed", x: "2", y: `${height - 1.5}` }, printed(options, waveform)),
  );
}

function lead({ lead: name, rhythm, missing, d, label, start }) {
  const text = svg("text", { class: "lead", ...label }, missing ? `${name}: not recorded` : name);
  if (missing) return [text];
  const mark = svg("path", { class: "mark", d: `M${start.x} ${start.y - 2.5}v5` });
  return [mark, svg("path", { class: "trace", "data-lead": name, "data-row": rhythm ? "whole" : "part", d }), text];
}

function grid(width, height, step) {
  let d = "";
  for (let x = 0; x <= width; x += step) d += `M${x} 0V${height}`;
  for (let y = 0; y <= height; y += step) d += `M0 ${y}H${width}`;
  return d;
}

function printed({ gain, speed, kind }, { filters }) {
  const signal = kind === "preprocessed" ? "as the model reads it" : "as recorded";
  return `${speed} mm/s   ${gain} mm/mV   ${filterWords(filters)}   ${signal}, each lead about its median`;
}

function filterWords(filters) {
  const { high_pass: low, low_pass: high, notch } = filters ?? {};
  const words = [low && `above ${low} Hz`, high && `below ${high} Hz`, notch && `notch ${notch} Hz`].filter(Boolean);
  return words.length ? `filter ${words.join(", ")}` : "filter not stated";
}

function summary(drawing, options, waveform) {
  const missing = drawing.traces.filter((trace) => trace.missing).map((trace) => trace.lead);
  const leads = missing.length ? `Leads not recorded: ${missing.join(", ")}.` : "All twelve leads are drawn.";
  return `12-lead ECG, ${drawing.seconds.toFixed(1)} s at ${waveform.sampling_rate} Hz, ${printed(options, waveform)}. ${leads}`;
}

function remark({ seconds, recordedSeconds }) {
  if (recordedSeconds <= seconds) return "";
  return `The recording lasts ${recordedSeconds.toFixed(1)} s; its first ${seconds.toFixed(0)} s are drawn.`;
}

function html(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

customElements.define("ecg-viewer", EcgViewer);
