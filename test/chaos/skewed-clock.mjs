/** Loaded before the program: its calendar clock, in every thread, is this far ahead. The steady clock stays. */
const skewMs = Number(process.env.CHAOS_SKEW_MS ?? 0);
const RealDate = Date;

globalThis.Date = class SkewedDate extends RealDate {
  constructor(...values) {
    if (values.length === 0) super(RealDate.now() + skewMs);
    else super(...values);
  }

  static now() {
    return RealDate.now() + skewMs;
  }
};
