import { constants, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE_BYTES = 8;
const CRC_TABLE = Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** The same picture in fewer bytes: a browser packs its screenshots for speed. PNG §5: chunks of length, type, data, CRC. */
export function smaller(png: Buffer): Buffer {
  const kept: Buffer[] = [];
  const data: Buffer[] = [];
  for (let at = SIGNATURE_BYTES; at < png.length; ) {
    const end = at + 12 + png.readUInt32BE(at);
    const isData = png.toString("latin1", at + 4, at + 8) === "IDAT";
    if (isData) data.push(png.subarray(at + 8, end - 4));
    else kept.push(png.subarray(at, end));
    at = end;
  }
  const options = { level: 9, memLevel: 9, strategy: constants.Z_DEFAULT_STRATEGY };
  const packed = chunk("IDAT", deflateSync(inflateSync(Buffer.concat(data)), options));
  const [last] = kept.slice(-1);
  return Buffer.concat([png.subarray(0, SIGNATURE_BYTES), ...kept.slice(0, -1), packed, last ?? Buffer.of()]);
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(typed.length + 8);
  framed.writeUInt32BE(data.length, 0);
  typed.copy(framed, 4);
  framed.writeUInt32BE(crc(typed), typed.length + 4);
  return framed;
}

function crc(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = (CRC_TABLE[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
