/** Reads the frames of a stream in turn, each as its text, and tells of each whether it says something that is worth money. */
export type FrameReader = (data: string, event?: string) => boolean;

/**
 * Nothing is said by a frame that fails, or only begins an answer; nor by a ping behind one of these (a feed may say for long that it is
 * there, and nothing else), nor by the end of an answer that has failed.
 */
export function createFrameReader(): FrameReader {
  let hasBegun = false;
  let hasFailed = false;
  return (data, event) => {
    const kind = event === "error" ? "failure" : kindOf(data);
    hasBegun ||= kind === "beginning";
    hasFailed ||= kind === "failure";
    if (kind === "ping") return !hasBegun && !hasFailed;
    return kind === "real" || (kind === "end" && !hasFailed);
  };
}

type Kind = "failure" | "beginning" | "ping" | "end" | "real";
type Frame = Readonly<Record<string, unknown>>;

/** All but the real ones have one of these. */
const MAY_SAY_NOTHING =
  /"error"|"(?:start|finish)(?:-step)?"|"(?:text|reasoning)-(?:start|end)"|"chat\.completion\.chunk"|"message_start"|"content_block_start"|"ping"|"response\.\w+"/;

function kindOf(data: string): Kind {
  if (!MAY_SAY_NOTHING.test(data)) return "real";
  try {
    const frame: unknown = JSON.parse(data);
    return isObject(frame) ? kindOfFrame(frame) : "real";
  } catch {
    return "real";
  }
}

function kindOfFrame(frame: Frame): Kind {
  const { type } = frame;
  if (isFailure(frame)) return "failure";
  if (type === "ping" && Object.keys(frame).length === 1) return "ping";
  if (ENDS.has(type)) return "end";
  if (frame["object"] === "chat.completion.chunk") return kindOfChunk(frame);
  return isBeginning(frame) ? "beginning" : "real";
}

/**
 * `{"error": …}` is how OpenAI-compatible servers report a failure inside a 200 stream; `false`, `""` and 0 say that there is none.
 * `{"type": "error", "errorText": …}` is the AI SDK's way (UI message stream), and `response.failed` that of OpenAI's responses.
 */
function isFailure(frame: Frame): boolean {
  const { error, type } = frame;
  return Boolean(error) || (type === "error" && "errorText" in frame) || type === "response.failed";
}

/** What the AI SDK sends at the end of a message, also of one that failed. */
const ENDS: ReadonlySet<unknown> = new Set(["finish", "finish-step", "text-end", "reasoning-end"]);

/** The first frames of the AI SDK, of Anthropic's messages and of OpenAI's responses, by type, and what each of them has. */
const BEGINNINGS: ReadonlyMap<unknown, ReadonlySet<string>> = new Map([
  ...fieldsOf(["start", "start-step"], ["type", "messageId", "messageMetadata"]),
  ...fieldsOf(["text-start", "reasoning-start"], ["type", "id", "providerMetadata"]),
  ...fieldsOf(["message_start"], ["type", "message"]),
  ...fieldsOf(["content_block_start"], ["type", "index", "content_block"]),
  ...fieldsOf(
    ["response.created", "response.queued", "response.in_progress"],
    ["type", "response", "sequence_number"],
  ),
]);

function fieldsOf(types: readonly string[], fields: readonly string[]) {
  return types.map((type) => [type, new Set(fields)] as const);
}

function isBeginning(frame: Frame): boolean {
  const { type, content_block: block } = frame;
  const fields = BEGINNINGS.get(type);
  if (fields === undefined || !Object.keys(frame).every((key) => fields.has(key))) return false;
  // A block that text will come into; a tool's names the tool.
  return block === undefined || (isObject(block) && saysOnly("type", block));
}

/** OpenAI's chunk of the role alone is a beginning, and one that only says why the model stopped is the end. */
function kindOfChunk({ choices }: Frame): Kind {
  if (!Array.isArray(choices) || !choices.every(isSilent)) return "real";
  return choices.some((choice) => isObject(choice) && choice["finish_reason"]) ? "end" : "beginning";
}

function isSilent(choice: unknown): boolean {
  return isObject(choice) && isObject(choice["delta"]) && saysOnly("role", choice["delta"]);
}

function saysOnly(field: string, object: Frame): boolean {
  return Object.entries(object).every(([name, value]) => name === field || value === null || value === "");
}

function isObject(value: unknown): value is Frame {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
