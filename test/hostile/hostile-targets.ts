import fc from "fast-check";

const PIECES = [
  ...[
    "/",
    "//",
    "///",
    "/.",
    "/..",
    "/%2e",
    "/%2e%2e",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "/\\",
    ";",
    ";x=1",
    "%3b",
    "/x",
  ],
  ...[
    "%00",
    "%0a",
    "%20",
    "+",
    "%c0%af",
    "%ef%bc%8f",
    "%u002f",
    "%",
    "%%",
    "%e4",
    "%zz",
    "*",
    ":",
    ":id",
    "x",
    "xx",
  ],
  ...[
    "#",
    "#x",
    "%23",
    "?",
    "?x",
    "??",
    "?/agent",
    "&",
    '"',
    '/"',
    "<",
    "{",
    "|",
    "^",
    "`",
    "'",
    "@",
    "~",
    "!",
    "$",
  ],
];

const ORIGINS = [
  ...[
    "http://x",
    "https://x",
    "HTTP://X",
    "ftp://x",
    "x://x",
    "http://x:80",
    "http://x!y",
    "http://x;",
    "http://a:b",
  ],
  ...["http://u:p@x", "http://[::1]", "http://", "http://x%2f", "http://$", "http:", "//x"],
];

const ODD = ["*", "http://x", "http://x?/agent", "/?", "//", "/#", "x", ""];

/** Request targets in the neighbourhood of these paths: pieces put in or in place of others, in upper case, in absolute form. */
export function targetsNear(paths: readonly string[]): fc.Arbitrary<string> {
  const edit = fc
    .tuple(fc.nat(30), fc.nat(2), fc.constantFrom(...PIECES, ...paths))
    .map(([at, remove, text]) => (path: string) => {
      const index = at % (path.length + 1);
      return path.slice(0, index) + text + path.slice(index + remove);
    });
  const path = fc
    .tuple(fc.constantFrom(...paths), fc.array(edit, { maxLength: 4 }), fc.boolean())
    .map(([start, edits, upper]) => {
      return edits.reduce((text, change) => change(text), upper ? start.toUpperCase() : start);
    });
  return fc.oneof(
    { weight: 6, arbitrary: path },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom(...ORIGINS), path).map((parts) => parts.join("")) },
    { weight: 1, arbitrary: fc.constantFrom(...ODD) },
  );
}
