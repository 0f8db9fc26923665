import { Chart, Charts } from "../plot.js";

/** How long completions are. */
export const lengthsPanel = {
  title: "Length",
  needs: [{ any: ["response_length/mean"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["response_length/*", "unfiltered/response_length/*", "reflection/*"],
  mount(element, run) {
    const spread = [["max", "longest", "--faint"], ["min", "shortest", "--faint"]].filter(([name]) => run.has(`response_length/${name}`));
    const list = [new Chart(element, run, {
      title: this.title, unit: "tokens a completion", classes: "small",
      series: () => [
        { label: "mean", values: run.column("response_length/mean"), colour: "--q-lm", width: 1.8 },
        ...spread.map(([name, label, colour]) => ({ label, colour, values: run.column(`response_length/${name}`), width: 1, dash: [3, 3] })),
      ],
    })];
    if (run.has("response_length/clip_ratio")) list.push(new Chart(element, run, {
      title: "Truncated", unit: "share of completions cut at the limit", classes: "small", zero: true,
      series: () => [{ label: "truncated", values: run.column("response_length/clip_ratio"), colour: "--bad" }],
    }));
    const words = run.matching("reflection/*");
    const colours = ["--q-up", "--q-lp", "--q-um", "--q-lm", "--half", "--ink"];
    if (words.length > 0) list.push(new Chart(element, run, {
      title: "Reflection words", unit: "words a completion", classes: "small", zero: true,
      series: () => words.map((key, at) => ({ label: key.split("/").at(-1).replaceAll("_", " "), values: run.column(key), colour: colours[at % colours.length] })),
    }));
    this.charts = new Charts(list);
  },
  draw(state) {
    this.charts.draw(state);
  },
};
