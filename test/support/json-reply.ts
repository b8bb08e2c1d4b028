/** An answer read to its end; `json` is empty where it is no JSON. */
export interface JsonReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

/** What a call with a JSON body sends; a text is sent as it is. */
export function jsonCall(
  method: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): RequestInit {
  if (body === undefined) return { method, headers: { ...headers } };
  return {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

export async function readJson(response: Response): Promise<JsonReply> {
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  const { status, headers } = response;
  return { status, headers, text, json: isJson && text !== "" ? JSON.parse(text) : {} };
}
