/**
 * Where everything on the ECG paper is, in millimetres: a pure function, so that it can be tested without pixels.
 * Convention: 25 mm/s and 10 mm/mV on a grid of 1 mm and 5 mm, a pulse of 1 mV lasting 200 ms before each row
 * (Kligfield et al., AHA/ACC/HRS recommendations part I, J Am Coll Cardiol 2007;49:1109).
 */

export const LAYOUTS = {
  "3x4": [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"], ["II"]],
  "12x1": [["I"], ["II"], ["III"], ["aVR"], ["aVL"], ["aVF"], ["V1"], ["V2"], ["V3"], ["V4"], ["V5"], ["V6"]],
};

const MAX_SECONDS = 10;
const PULSE_X = 2; // mm from the left edge to the pulse
const PULSE_SECONDS = 0.2;
const TOP = 5; // mm of empty paper above the first row
const NAME = 4; // mm that hold the name of the lead
const FOOT = 5; // mm below the last row, for the printed speed, gain and filter
const REACH = [5, 40]; // least and most mm that a row reserves above and below its baseline

/**
 * @typedef {Object} Waveform
 * @property {number} sampling_rate hertz
 * @property {number} [duration] seconds of signal; samples beyond are padding and are not drawn
 * @property {Object<string, (number|null)[]>} leads millivolts; null where a sample is missing
 *
 * @param {Waveform} waveform
 * @param {{layout?: "3x4"|"12x1", gain?: number, speed?: number}} options gain in mm/mV, speed in mm/s
 */
export function geometry(waveform, { layout = "3x4", gain = 10, speed = 25 } = {}) {
  const rate = waveform.sampling_rate;
  const recorded = recordedSamples(waveform);
  const shown = Math.min(recorded, Math.round(MAX_SECONDS * rate));
  const left = 5 * Math.ceil((PULSE_X + PULSE_SECONDS * speed + 1) / 5);
  const paper = { rate, shown, gain, speed, left };

  let y = TOP;
  const rows = LAYOUTS[layout].map((leads) => {
    const cells = leads.map((lead, column) => cell(waveform.leads[lead], lead, column, leads.length, paper));
    const above = reach(Math.max(gain, ...cells.map((c) => c.above)) + NAME);
    const baseline = y + above;
    y = baseline + reach(Math.max(...cells.map((c) => c.below)));
    return { baseline, above, cells };
  });
  return {
    width: left + 5 * Math.ceil(roundTo((shown / rate) * speed, 6) / 5),
    height: y + FOOT,
    seconds: shown / rate,
    recordedSeconds: recorded / rate,
    traces: rows.flatMap((row) => row.cells.map((c) => trace(c, row, paper))),
    pulses: rows.map((row) => pulse(row.baseline, paper)),
  };
}

function recordedSamples({ leads, sampling_rate: rate, duration }) {
  const longest = Math.max(0, ...Object.values(leads).map((samples) => samples.length));
  return duration === undefined ? longest : Math.min(longest, Math.round(duration * rate));
}

/** The part of one lead that stands in one column; the columns of a row follow each other in time. */
function cell(samples, lead, column, columns, { shown, gain }) {
  const first = Math.round((column * shown) / columns);
  const last = Math.round(((column + 1) * shown) / columns);
  const present = (samples ?? []).slice(0, shown).filter((v) => v !== null);
  const level = median(present); // a constant offset of the amplifier says nothing, so it is not drawn
  const part = (samples ?? []).slice(first, last).map((v) => (v === null ? null : gain * (v - level)));
  const drawn = part.filter((v) => v !== null);
  return { lead, first, part, rhythm: columns === 1, above: Math.max(0, ...drawn), below: Math.max(0, ...drawn.map((v) => -v)) };
}

function trace({ lead, first, part, rhythm }, { baseline, above }, { rate, speed, left }) {
  const x = left + (first / rate) * speed;
  return {
    lead,
    rhythm,
    missing: part.every((v) => v === null),
    d: path(part, (i) => x + (i / rate) * speed, baseline),
    label: { x: x + 1, y: baseline - above + 3 },
    start: { x, y: baseline },
  };
}

/** Missing samples interrupt the line: it is never drawn through what was not recorded. */
function path(part, x, baseline) {
  let pen = "M";
  let d = "";
  part.forEach((v, i) => {
    if (v !== null) d += `${pen}${roundTo(x(i), 3)} ${roundTo(baseline - v, 3)}`;
    pen = v === null ? "M" : "L";
  });
  return d;
}

function pulse(baseline, { gain, speed }) {
  return { d: `M${PULSE_X} ${baseline}V${baseline - gain}H${PULSE_X + PULSE_SECONDS * speed}V${baseline}` };
}

/** Whole large squares, so that every baseline lies on a line of the grid. */
function reach(millimetres) {
  return Math.min(REACH[1], Math.max(REACH[0], 5 * Math.ceil(millimetres / 5)));
}

function median(values) {
  return values.length ? Float64Array.from(values).sort()[values.length >> 1] : 0;
}

function roundTo(value, digits) {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
