// A group as a prefix tree: the definition of `evals::run::tree`, for the tests of the page.

const TEXT = 200;
const Z = 1.959963984540054;

/** Wilson's 95 % interval of a share seen in n trials. */
export function wilson(share, n) {
  if (n === 0) return [0, 1];
  const z2 = Z * Z;
  const centre = share + z2 / (2 * n);
  const half = Z * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  const scale = 1 + z2 / n;
  return [(centre - half) / scale, (centre + half) / scale];
}

/** Siblings are `{tokens, bytes, textEnd, entropy, credit, reward, correct}`. */
export function tree(siblings) {
  const nodes = [];
  const waiting = [[null, 0, siblings.map((_, at) => at)]];
  while (waiting.length > 0) {
    const [parent, from, members] = waiting.pop();
    const end = from + shared(siblings, members, from);
    const parts = split(siblings, members, end);
    const ends = parts.length <= 1;
    const at = nodes.length;
    nodes.push(node(siblings, members, parent, parent === null ? null : nodes[parent].value, from, end, ends));
    if (ends) continue;
    parts.sort((a, b) => value(siblings, a) - value(siblings, b));
    for (const part of parts) waiting.push([at, end, part]);
  }
  return nodes;
}

function shared(siblings, members, from) {
  if (members.length === 0) return 0;
  const first = siblings[members[0]].tokens;
  let end = first.length;
  for (const member of members.slice(1)) {
    const other = siblings[member].tokens;
    let at = from;
    while (at < end && at < other.length && first[at] === other[at]) at++;
    end = at;
  }
  return end - from;
}

function split(siblings, members, at) {
  const parts = new Map();
  for (const member of [...members].reverse()) {
    const next = siblings[member].tokens[at] ?? -1;
    if (parts.has(next)) parts.get(next).unshift(member);
    else parts.set(next, [member]);
  }
  return [...parts.values()];
}

const mean = (values) => values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length);
const value = (siblings, members) => mean(members.map((one) => siblings[one].reward));

function node(siblings, members, parent, before, from, end, ends) {
  const own = members.map((one) => siblings[one]);
  const worth = value(siblings, members);
  const isShare = own.every((one) => one.reward === 0 || one.reward === 1);
  const gain = before === null ? 0 : worth - before;
  const credits = end > from ? own.map((one) => one.credit[from]).filter(Number.isFinite) : [];
  const credit = credits.length > 0 ? mean(credits) : null;
  const entropies = own.filter((one) => end < one.entropy.length).map((one) => one.entropy[end]);
  const [text, isCut] = own.length > 0 ? textOf(own[0], from, end) : ["", false];
  return {
    parent, from, len: end - from, siblings: members, ends,
    correct: own.filter((one) => one.correct).length,
    value: worth,
    interval: isShare ? wilson(worth, members.length) : null,
    monte_carlo_credit: gain,
    credit,
    opposed: parent !== null && credit !== null && credit * gain < 0,
    entropy: entropies.length > 0 ? entropies[0] : null,
    entropies_agree: entropies.every((one) => Object.is(one, entropies[0])),
    text, is_cut: isCut,
  };
}

function textOf(sibling, from, end) {
  const byte = (token) => (token === 0 ? 0 : (sibling.textEnd[token - 1] ?? 0));
  const whole = sibling.bytes.subarray(byte(from), byte(end)).toString("utf8");
  const cut = [...whole].slice(0, TEXT).join("");
  return [cut, cut.length < whole.length];
}
