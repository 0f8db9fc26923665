// Follows a log: from the last offset to the last line feed.
import fs from "node:fs";

const MOST = 64 << 20;

export class Tail {
  constructor(file, longest) {
    Object.assign(this, { file, longest });
    this.restart(-1);
  }

  restart(generation) {
    Object.assign(this, { offset: 0, line: 0, generation, skipping: false });
  }

  /** `{lines, restarted, problems}`; lines are parsed objects. */
  poll(generation) {
    const out = { lines: [], restarted: false, problems: [] };
    let length;
    try {
      const stat = fs.statSync(this.file);
      if (!stat.isFile()) throw Object.assign(new Error("it is no file"), { code: "EISDIR" });
      length = stat.size;
    } catch (error) {
      if (error.code !== "ENOENT") out.problems.push(this.problem(null, error.message));
      length = 0;
    }
    if (length < this.offset || generation !== this.generation) {
      out.restarted = this.generation !== -1;
      this.restart(generation);
    }
    while (this.offset < length && this.read(Math.min(MOST, length - this.offset), out));
    return out;
  }

  problem(line, problem) {
    const act = "delete the line, or read the run without it: the other lines are shown";
    return { file: this.file, line, problem, act };
  }

  read(count, out) {
    const buffer = Buffer.alloc(count);
    const fd = fs.openSync(this.file, "r");
    const got = fs.readSync(fd, buffer, 0, count, this.offset);
    fs.closeSync(fd);
    const end = buffer.lastIndexOf(10, got - 1);
    if (end < 0) {
      if (got < MOST) return false;
      this.skipping = true;
      this.offset += got;
      return true;
    }
    for (let from = 0; from <= end; ) {
      const to = buffer.indexOf(10, from);
      this.take(buffer.subarray(from, to), out);
      from = to + 1;
    }
    this.offset += end + 1;
    return end + 1 === got && got === count;
  }

  take(bytes, out) {
    this.line += 1;
    if (this.skipping || bytes.length > this.longest) {
      out.problems.push(this.problem(this.line, `the line is longer than ${this.longest} bytes`));
      this.skipping = false;
      return;
    }
    try {
      const value = JSON.parse(bytes.toString("utf8"));
      if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("it is no object");
      out.lines.push(value);
    } catch (error) {
      out.problems.push(this.problem(this.line, error.message));
    }
  }
}
