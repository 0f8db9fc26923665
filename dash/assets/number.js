// Numbers as people read them. Absent is a dash, never 0.

export const ABSENT = "—";
export const NOT_FINITE = "not finite";

/** A measured value: 4 significant digits; a dash where it is absent. */
export function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return ABSENT;
  if (!Number.isFinite(value)) return NOT_FINITE;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(size >= 1 ? 4 : 3)));
}

/** A value of the axis. */
export function tick(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e4 || size < 1e-3) return String(Number(value.toPrecision(3)).toExponential()).replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}

export function percent(share, digits = 0) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : ABSENT;
}

export function signed(value) {
  const text = figure(value);
  return value > 0 ? `+${text}` : text;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return ABSENT;
  if (seconds < 0.95) return `${figure(Number((1000 * seconds).toPrecision(2)))} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Mean over the `width` values before and at each place, absent ones left out. */
export function rolling(values, width) {
  const out = new Array(values.length).fill(NaN);
  for (let i = 0; i < values.length; i++) {
    let [sum, count] = [0, 0];
    for (let j = Math.max(0, i - width + 1); j <= i; j++) {
      if (!Number.isFinite(values[j])) continue;
      sum += values[j];
      count += 1;
    }
    if (count > 0 && Number.isFinite(values[i])) out[i] = sum / count;
  }
  return out;
}
