// The columns of a group's tokens, and what is computed from them.

export const FLAGS = { generated: 1, selected: 2, high: 4, upper: 8, lower: 16, bounds: 32, left_out: 64 };

/** What the loss made of a token, the first that fits; what has no colour is in the loss as it is. */
export const MASKS = [
  ["not generated", "--half", (one, at) => !(one.flags[at] & FLAGS.generated)],
  ["not learnt from", null, (one) => !Number.isFinite(one.advantage)],
  ["left out of the loss", "--bad", (one, at) => one.flags[at] & FLAGS.left_out],
  ["importance weight out of bounds", "--violet", (one, at) => one.flags[at] & FLAGS.bounds],
  ["clipped above", "--orange", (one, at) => one.flags[at] & FLAGS.upper],
  ["clipped below, or by the dual clip", "--blue", (one, at) => one.flags[at] & FLAGS.lower],
  ["in the loss", null, () => true],
];
export const maskOf = (one, at) => MASKS.findIndex(([, , fits]) => fits(one, at));

/** Φ = p (ln p + H) less the sum over the vocabulary. */
export function phi(one, at) {
  const p = Math.exp(one.log_prob[at]);
  return p * (one.log_prob[at] + one.entropy[at]) - one.phi_sum[at];
}

export function credit(one, at) {
  return one.weight[at] * one.advantage;
}

/** Training's log-probability less that of the rollout. */
export function gap(one, at) {
  return one.train_log_prob[at] - one.log_prob[at];
}

/** Completions of a group with their columns and the bytes of their texts. */
export function completionsOf(group, { header, columns }) {
  return header.siblings.map(({ sibling, from, to, advantage }) => {
    // An evaluation may keep fewer texts than tokens.
    const text = group.completions[sibling] ?? { text: "" };
    const one = { ...text, sibling, length: to - from, advantage: advantage ?? NaN, bytes: new TextEncoder().encode(text.text) };
    for (const [name, column] of columns) one[name] = column.subarray(from, to);
    return one;
  });
}

const decoder = new TextDecoder();

/** Text of tokens `from..to` of a completion. */
export function textOf(one, from, to = from + 1) {
  const byte = (token) => (token <= 0 ? 0 : one.text_end[token - 1]);
  return decoder.decode(one.bytes.subarray(byte(from), byte(to)));
}
