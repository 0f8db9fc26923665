import { QUADRANTS } from "../colour.js";
import { choice, press } from "../dom.js";
import { Chart, Charts } from "../plot.js";
import { stackSpec } from "../stack.js";
import { move, offer } from "../state.js";

const FIGURES = [["entropy", "entropy", "what each adds to the entropy, first order"], ["advantage", "advantage", "sum of advantages"], ["tokens", "tokens", "share of tokens"]];
const RULES = [["quantile", "by quantile", "high: among the largest surprisals of its sign"], ["critical", "by Φ", "high: Φ below 0"]];
const UNITS = new Map([["entropy", "nats, what each adds to the entropy"], ["advantage", "sum over all tokens"], ["tokens", "share of tokens"]]);

offer("fig", FIGURES.map(([fig]) => fig));
offer("rule", RULES.map(([rule]) => rule));

/** Winners and losers, high and low surprisal: what each does. */
export const quadrantsPanel = {
  title: "Quadrants",
  needs: [{ any: ["quadrant/quantile/u_plus/tokens", "quadrant/critical/u_plus/tokens"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["quadrant/quantile/*/*", "quadrant/critical/*/*"],
  mount(element, run) {
    const rules = RULES.filter(([rule]) => run.has(`quadrant/${rule}/u_plus/tokens`));
    this.figure = choice("figure", FIGURES, "entropy", (fig) => move({ fig }));
    this.rule = choice("rule of high surprisal", rules, rules[0][0], (rule) => move({ rule }));
    this.rules = rules.map(([rule]) => rule);
    const parts = (_, state) => QUADRANTS.map(({ key, label, colour }) => run.curve(`quadrant/${this.ruled(state)}/${key}/${state.fig ?? "entropy"}`, label, colour, { span: true }));
    const main = new Chart(element, run, {
      title: this.title, unit: "", classes: "half tall", note: "Over the tokens of the groups that are learnt from, advantages as the loss counts them.", tools: [this.rule, this.figure], ...stackSpec(parts),
      key: (state) => [state.fig, state.rule],
    });
    this.note = main.card.querySelector("h2").appendChild(document.createElement("small"));
    this.charts = new Charts([main]);
  },
  /** The rule of the address, where the run has it. */
  ruled(state) {
    return this.rules.includes(state.rule) ? state.rule : this.rules[0];
  },
  draw(state) {
    const fig = state.fig ?? "entropy";
    press(this.figure, fig);
    press(this.rule, this.ruled(state));
    this.note.textContent = ` ${UNITS.get(fig) ?? ""}`;
    this.charts.draw(state);
  },
};

const WEIGHTS = [["stare/reweight_w", "W, raised tokens", "--orange"], ["stare/reweight_m", "M, lowered tokens", "--teal"], ["stare/critical_weight", "critical W", "--muted"]];
const SHARES = [["weighting/selected", "selected", "--orange"], ["actor/stare/positive_reweight_ratio", "of winners' tokens", "--orange"], ["actor/stare/negative_reweight_ratio", "of losers' tokens", "--violet"]];

/** What the weighting does to the tokens that it selects. */
export const weightsPanel = {
  title: "Weights of selected tokens",
  needs: [{ any: ["stare/reweight_w", "weighting/selected"], record: "`stage.weighting`" }],
  keys: [...WEIGHTS, ...SHARES].map(([key]) => key),
  mount(element, run) {
    const list = [];
    const add = (title, unit, rows, zero) => {
      const there = rows.filter(([key]) => run.has(key));
      if (there.length === 0) return;
      const series = () => there.map(([key, label, colour]) => run.curve(key, label, colour, { dash: label === "critical W" ? [4, 3] : undefined }));
      list.push(new Chart(element, run, { title, unit, classes: "small", zero, series }));
    };
    add(this.title, "factor", WEIGHTS, false);
    add("Reweighted tokens", "share, where the gate is open", SHARES, true);
    this.charts = new Charts(list);
  },
  draw(state) {
    this.charts.draw(state);
  },
};
