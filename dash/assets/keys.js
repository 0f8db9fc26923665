// Keys of the page.
import { el, table } from "./dom.js";

const HELP = [
  ["← →", "step; with Shift: recorded step"],
  ["j k", "next and previous group"],
  ["h l", "previous and next sibling"],
  [", .", "previous and next token"],
  ["[ ]", "previous and next selected token"],
  ["c", "colouring of the tokens"],
  ["s", "only selected tokens"],
  ["1 – 4", "Run, Samples, Evals, Compare"],
  ["arrows", "in a table of problems: cell; Enter opens it"],
  ["/", "find groups"],
  ["f", "fork at the token"],
  ["t", "theme"],
  ["?", "this help"],
  ["Esc", "close, leave a field"],
];

/** Calls `act(name, event)` for the keys of the page; names are those of `HELP`'s actions. */
export function listenKeys(act) {
  const names = new Map([["j", "group+"], ["k", "group-"], ["h", "sibling-"], ["l", "sibling+"], [",", "token-"], [".", "token+"], ["[", "selected-"], ["]", "selected+"], ["c", "colour"], ["s", "only"], ["/", "find"], ["f", "fork"], ["t", "theme"], ["?", "help"], ["1", "view1"], ["2", "view2"], ["3", "view3"], ["4", "view4"]]);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest?.("input:not([type=range]):not([type=checkbox]),select,textarea");
    if (event.key === "Escape") {
      field?.blur();
      return;
    }
    if (field || document.querySelector("dialog[open]")) return;
    const arrow = { ArrowLeft: "-", ArrowRight: "+" }[event.key];
    const name = arrow ? `${event.shiftKey ? "recorded" : "step"}${arrow}` : names.get(event.key);
    if (!name) return;
    event.preventDefault();
    act(name, event);
  });
}

/** The help, as a dialog. */
export function helpDialog() {
  const close = el("button", { type: "button", text: "Close" });
  const dialog = el("dialog", { "aria-label": "Keys" }, el("h2", { text: "Keys" }),
    table(["key", "what it moves"], HELP.map(([keys, text]) => [el("kbd", { text: keys }), text])),
    el("p", { class: "note", text: "Drag in a chart to see fewer steps; a double click shows all of them." }), close);
  close.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  return dialog;
}
