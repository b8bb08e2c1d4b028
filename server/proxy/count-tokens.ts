/** Text is counted in pieces: a long word takes the tokenizer a time that grows with its square. Characters. */
const PIECE = 512;
/** Others get their turn after so many pieces, or so much time. */
const TURN_PIECES = 16;
const TURN_MS = 2;
/**
 * The tokenizer keeps what it has counted, up to 100,000 words. Once full it looks for the oldest at each word, which takes a hundred times
 * as long as to count it anew: so it forgets all of them before, after so many pieces.
 */
const REMEMBERED_PIECES = 128;
/** Special tokens that a caller writes are text. */
const AS_TEXT = { disallowedSpecial: new Set<string>() };

let remembered = 0;

/**
 * Tokens of `o200k_base`, exact for texts of up to 512 characters each; longer ones may come out a little higher. The first call in
 * a thread stops it for some 200 ms, and the tokenizer takes some 60 MB.
 */
export async function countTokensHere(texts: readonly string[]): Promise<number> {
  const tokenizer = await import("gpt-tokenizer/encoding/o200k_base");
  let tokens = 0;
  let pieces = 0;
  let turn = performance.now();
  for (const text of texts) {
    for (let start = 0; start < text.length; ) {
      const end = pieceEnd(text, start);
      if (remembered === REMEMBERED_PIECES) {
        tokenizer.clearMergeCache();
        remembered = 0;
      }
      remembered++;
      tokens += tokenizer.countTokens(text.slice(start, end), AS_TEXT);
      start = end;
      pieces++;
      if (pieces % TURN_PIECES !== 0 && performance.now() - turn < TURN_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
    }
  }
  return tokens;
}

/** Before a blank, where tokens begin anyway; never within a character. */
function pieceEnd(text: string, start: number): number {
  const end = start + PIECE;
  if (end >= text.length) return text.length;
  const blank = text.lastIndexOf(" ", end);
  if (blank > start) return blank;
  const isSplit = (text.charCodeAt(end) & 0xfc00) === 0xdc00;
  return isSplit ? end - 1 : end;
}
