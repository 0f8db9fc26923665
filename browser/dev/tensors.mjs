// Reads ranges of a safetensors file: the header first, then only what is asked for.
import fs from "node:fs";

const BYTES = { U8: 1, U32: 4, F32: 4, U64: 8 };
const LARGEST_HEADER = 1 << 20;

export class Tensors {
  /** Throws an error with a `problem` where the file is not whole. */
  constructor(file) {
    this.file = file;
    this.fd = fs.openSync(file, "r");
    try {
      this.length = fs.fstatSync(this.fd).size;
      if (this.length < 8) throw new Error(`expected a header, got a file of ${this.length} bytes`);
      const size = this.bytes(0, 8).readBigUInt64LE(0);
      if (size > BigInt(LARGEST_HEADER) || size > BigInt(this.length - 8)) {
        throw new Error(`its header has a length of ${size} bytes, and the file ${this.length}`);
      }
      this.header = JSON.parse(this.bytes(8, Number(size)).toString("utf8"));
      this.data = 8 + Number(size);
      this.about = this.header.__metadata__ ?? {};
    } catch (error) {
      this.close();
      throw error;
    }
  }

  bytes(from, count) {
    const buffer = Buffer.alloc(count);
    if (fs.readSync(this.fd, buffer, 0, count, from) < count) throw new Error("the file is cut");
    return buffer;
  }

  has(name) {
    return name !== "__metadata__" && Object.hasOwn(this.header, name);
  }

  names() {
    return Object.keys(this.header).filter((name) => name !== "__metadata__");
  }

  /** Rows of a column as numbers. */
  rows(name, from, to) {
    if (!this.has(name)) throw new Error(`there is no column \`${name}\``);
    const { dtype, shape, data_offsets: place } = this.header[name];
    const width = BYTES[dtype];
    if (!width || from > to || to > shape[0]) {
      throw new Error(`column \`${name}\` has ${shape[0]} rows of ${dtype}, not ${from}..${to}`);
    }
    const bytes = this.bytes(this.data + place[0] + from * width, (to - from) * width);
    const out = new Float64Array(to - from);
    for (let i = 0; i < out.length; i++) {
      const at = i * width;
      if (dtype === "F32") out[i] = bytes.readFloatLE(at);
      else if (dtype === "U32") out[i] = bytes.readUInt32LE(at);
      else if (dtype === "U8") out[i] = bytes[at];
      else out[i] = Number(bytes.readBigUInt64LE(at));
    }
    return out;
  }

  close() {
    fs.closeSync(this.fd);
  }
}
