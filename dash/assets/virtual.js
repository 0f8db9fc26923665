// Long completions: lines of tokens that are in the page only while they are near the window.
import { el } from "./dom.js";

/** Tokens of a line. */
export const LINE = 200;
/** Most token elements at a time. */
export const MOST = 4000;

/** Mounts lines as they come near the window, and removes the farthest beyond `MOST` tokens. */
export class Lines {
  constructor(total) {
    this.all = total <= MOST;
    this.mounted = new Map();
    this.seen = new IntersectionObserver((entries) => this.look(entries), { rootMargin: "250px 0px" });
  }

  /** A line of `count` tokens; `fill(element)` puts them into it. */
  line(count, fill) {
    const element = el("span", { class: "line away" });
    element.style.minHeight = `${Math.ceil(count / 26) * 24}px`;
    Object.assign(element, { count, fill });
    if (this.all) this.mount(element);
    else this.seen.observe(element);
    return element;
  }

  look(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.mount(target);
      else target.near = false;
    }
  }

  mount(element) {
    element.near = true;
    if (this.mounted.has(element)) {
      this.mounted.delete(element);
    } else {
      element.fill(element);
      element.classList.remove("away");
      element.style.minHeight = "";
    }
    this.mounted.set(element, element.count);
    let total = 0;
    for (const count of this.mounted.values()) total += count;
    if (total <= MOST) return;
    const middle = innerHeight / 2;
    const away = (other) => Math.abs(other.getBoundingClientRect().top - middle) + (other.near ? 0 : 1e7);
    const farthest = [...this.mounted.keys()].filter((other) => other !== element).map((other) => [away(other), other]);
    for (const [, other] of farthest.sort((one, two) => two[0] - one[0])) {
      if (total <= MOST) break;
      total -= other.count;
      this.unmount(other);
    }
  }

  unmount(element) {
    element.style.minHeight = `${Math.max(24, element.offsetHeight)}px`;
    element.replaceChildren();
    element.classList.add("away");
    this.mounted.delete(element);
  }

  clear() {
    this.seen.disconnect();
    this.mounted.clear();
  }
}
