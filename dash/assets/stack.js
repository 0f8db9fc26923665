// Stacks: positive parts upwards, negative parts downwards, each from its neighbour on.

/**
 * Series and bands of a stack. `parts` have `label`, `colour`, `values`. Every part is two series,
 * so that a part may change its sign from step to step.
 */
export function stacked(parts, length) {
  const present = (at) => parts.some((part) => Number.isFinite(part.values[at]));
  const zero = Array.from({ length }, (_, at) => (present(at) ? 0 : NaN));
  const series = [{ label: "0", values: zero, colour: "--line", bare: true, width: 0.5 }];
  const bands = [];
  const sums = { up: [zero, 1], down: [zero, 1] };
  for (const part of parts) {
    for (const side of ["up", "down"]) {
      const [below, place] = sums[side];
      const own = (value) => (side === "up" ? Math.max(0, value) : Math.min(0, value));
      const values = below.map((sum, at) => (Number.isFinite(part.values[at]) ? sum + own(part.values[at]) : sum));
      series.push({ label: `${part.label} ${side}`, values, colour: part.colour, bare: true, width: 0.6, span: part.span });
      const here = series.length;
      bands.push({ series: side === "up" ? [here, place] : [place, here], colour: part.colour, alpha: 0.72 });
      sums[side] = [values, here];
    }
  }
  return { series, bands };
}

/** Chart settings for a stack of the parts that `parts(run, state)` gives. */
export function stackSpec(parts) {
  let bands = [];
  return {
    zero: true,
    series(run, state) {
      const all = parts(run, state);
      const made = stacked(all, run.steps.length);
      bands = made.bands;
      const named = all.map((part) => ({ key: part.key, label: part.label, colour: part.colour, values: new Array(run.steps.length).fill(NaN), raw: part.values, width: 0 }));
      return [...made.series, ...named];
    },
    bands: () => bands,
  };
}
