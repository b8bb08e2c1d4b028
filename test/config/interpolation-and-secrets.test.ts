import { expect, test } from "vitest";
import { loaded, problems } from "./settings.ts";

const IN_FILE = `a secret does not belong in the file: write \${VARIABLE} and set the variable`;

test(`variables are put in place once, and $\${ stands for \${`, () => {
  const yaml = `
service:
  name: \${A}-\${B}
  description: write $\${A} for \${A}
  tags: ["\${B}"]
`;
  expect(loaded(yaml, { A: "one", B: "$" + "{A}" }).service).toMatchObject({
    name: `one-\${A}`,
    description: `write \${A} for one`,
    tags: [`\${A}`],
  });
});

test.each([
  [`service: { name: '\${NO_SUCH}' }`, ["service.name: the variable NO_SUCH is not set"]],
  [`service: { name: '\${EMPTY}' }`, ["service.name: the variable EMPTY is not set"]],
  [`service: { tags: [a, '\${NO_SUCH}'] }`, ["service.tags[1]: the variable NO_SUCH is not set"]],
  [
    `service: { name: '\${ONE} \${TWO}' }`,
    ["service.name: the variable ONE is not set", "service.name: the variable TWO is not set"],
  ],
  [`service: { name: '\${A:-b}' }`, [`service.name: \${ must be followed by the name of a variable and }`]],
  [`service: { name: '\${' }`, [`service.name: \${ must be followed by the name of a variable and }`]],
])("%s names what is missing and where", (yaml, expected) => {
  expect(problems(yaml, { EMPTY: "" })).toEqual(expected);
});

test.each(["sk-live-123", `Bearer \${KEY}`, `\${KEY}-suffix`, `$\${KEY}`, `\${KEY:-sk-live-123}`, ""])(
  "the key %j in the file is refused",
  (apiKey) => {
    const yaml = `upstreams: { default: { url: "http://a", apiKey: ${JSON.stringify(apiKey)} } }`;
    expect(problems(yaml, { KEY: "k" })).toEqual([`upstreams.default.apiKey: ${IN_FILE}`]);
  },
);

test("a key that reaches the file through an alias is refused too", () => {
  const yaml = "upstreams: { a: { url: 'http://a', apiKey: &k sk-1 }, b: { url: 'http://b', apiKey: *k } }";
  expect(problems(yaml)).toEqual([`upstreams.a.apiKey: ${IN_FILE}`, `upstreams.b.apiKey: ${IN_FILE}`]);
});

test("an RPC URL may have its key only from a variable", () => {
  const url = "https://rpc.example.com/?api-key=";
  expect(problems(`network: local\nrpcUrl: "${url}abc"`)).toEqual([`rpcUrl: ${IN_FILE}`]);
  expect(problems(`network: local\nrpcUrl: ["https://a.example", "${url}abc"]`)).toEqual([
    `rpcUrl[1]: ${IN_FILE}`,
  ]);
  expect(problems(`network: local\nrpcUrl: "${url}\${KEY}"`, { KEY: "abc" })).toEqual([]);
});

test("no problem repeats a value that may be a secret", () => {
  const planted = "planted-secret-value";
  const yaml = `
payTo: \${S}
rpcUrl: \${S}
facilitator: \${S}
publicUrl: https://user:\${S}@example.com
drain: \${S}
network: \${S}
prices: { agent: "\${S}" }
upstreams: { default: { url: "\${S}", apiKey: ${planted} } }
`;
  const env = {
    S: planted,
    PORT: planted,
    FAREBOX_MEMO_SECRET: planted,
    RPC_URL: planted,
    LOG_LEVEL: planted,
  };
  const found = problems(yaml, env);
  expect(found.length).toBeGreaterThanOrEqual(12);
  expect(found.join("\n")).not.toContain(planted);
});

test.each([
  ["a key that is there twice", "drain: 1s\ndrain: 2s\n", ["farebox.yaml:2:1: Map keys must be unique"]],
  [
    "an alias without its anchor",
    "drain: 1s\nservice: *nowhere\n",
    ["farebox.yaml:2:10: the alias has no anchor before it"],
  ],
  ["a tag", "drain: !secret 1s\n", ["farebox.yaml:1:8: Unresolved tag"]],
  [
    "aliases that explode",
    "a: &a [1,1]\nb: &b [*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]",
    ["farebox.yaml: has aliases that expand to too much (at most 100)"],
  ],
])("%s is refused with its line", (_, yaml, expected) => {
  expect(problems(yaml)).toEqual(expected);
});

test("what is not YAML is refused with its line, without quoting it, together with wrong variables", () => {
  const found = problems("network: solana\nupstreams: { default: { apiKey: planted-secret-value\n", {
    PORT: "x",
  });
  expect(found[0]).toMatch(/^farebox\.yaml:\d+:\d+: /);
  expect(found.join("\n")).not.toContain("planted");
  expect(found).toContain("PORT: write a whole number from 0 to 65535");
  expect(found.join("\n")).not.toContain("is missing");
});

test("a stray token after a key is not quoted, and a reference without quotes is explained", () => {
  expect(problems("upstreams: { default: { apiKey: {x} planted-secret-value } }")).toEqual([
    "farebox.yaml:1:37: Unexpected scalar at node end",
  ]);
  expect(problems(`service: { name: \${NAME} }`)).toEqual([
    `farebox.yaml:1:19: Unexpected flow-map-start at node end (inside { } or [ ] write "\${NAME}" with quotes)`,
  ]);
});

test.each([
  "!planted",
  "*planted",
  "|planted",
  "] planted",
  "`planted`",
  "@planted",
  "{planted} planted",
  "& planted &planted",
])("an apiKey that is no YAML is not quoted: %s", (apiKey) => {
  const found = problems(`upstreams:\n  default:\n    apiKey: ${apiKey}\n`);
  expect(found).toHaveLength(1);
  expect(found[0]).not.toContain("planted");
});

test("anchors and merge keys share settings", () => {
  const yaml = `
upstreams:
  a: &shared { url: "http://a", bodyTimeout: 7s }
  b: { <<: *shared, url: "http://b" }
`;
  expect(loaded(yaml).upstreams).toMatchObject([
    { name: "a", url: "http://a", bodyTimeoutMs: 7_000 },
    { name: "b", url: "http://b", bodyTimeoutMs: 7_000 },
    { name: "default" },
  ]);
});
