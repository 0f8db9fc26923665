// Colours, all from the style sheet, so that both themes have one source.

/** Value of a colour of the style sheet. */
export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A colour with some transparency; `name` is one of the style sheet. */
export function tint(name, alpha) {
  const [red, green, blue] = channels(css(name));
  return `rgba(${red},${green},${blue},${alpha.toFixed(3)})`;
}

function channels(text) {
  const hex = text.replace("#", "");
  const full = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
  return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
}

/** Between two colours of the style sheet: `share` of the second. */
export function between(first, second, share) {
  const [a, b] = [channels(css(first)), channels(css(second))];
  const mixed = a.map((value, at) => Math.round(value + (b[at] - value) * share));
  return `rgb(${mixed.join(",")})`;
}

/** Colour of a mean reward from 0 to 1: rust, grey, blue. */
export function success(share) {
  if (!Number.isFinite(share)) return css("--muted");
  const within = Math.min(1, Math.max(0, share));
  return within < 0.5 ? between("--bad", "--half", 2 * within) : between("--half", "--good", 2 * within - 1);
}

/** In the record, `l` is the high surprisal: l for a low probability. */
export const QUADRANTS = [
  { key: "l_plus", label: "winners, high surprisal", colour: "--orange" },
  { key: "u_plus", label: "winners, low", colour: "--blue" },
  { key: "l_minus", label: "losers, high surprisal", colour: "--violet" },
  { key: "u_minus", label: "losers, low", colour: "--teal" },
];

/** Class of the mark of an outcome: it differs in shape as well. */
export function mark(outcome) {
  if (outcome === "correct") return "mark yes";
  if (outcome === "wrong") return "mark no";
  return "mark other";
}

const STEPS = 24;

/** A ramp of backgrounds by a value from 0 to 1, or from -1 to 1 where `low` is given. */
export function ramp(high, low = null) {
  const strongest = document.documentElement.dataset.theme === "dark" ? 0.5 : 0.58;
  const scale = (name) => Array.from({ length: STEPS + 1 }, (_, at) => (at === 0 ? "" : tint(name, (strongest * at) / STEPS)));
  const [up, down] = [scale(high), low ? scale(low) : null];
  return (value) => {
    if (!Number.isFinite(value)) return "";
    const at = Math.min(STEPS, Math.round(Math.abs(value) * STEPS));
    return value < 0 && down ? down[at] : value < 0 ? "" : up[at];
  };
}
