import type { JsonObject } from "./request-json.ts";

const KEY = '"model"';

/**
 * The text of a JSON object with the public name of its model. Only the name is replaced where that can be told from the text:
 * writing JSON anew can round its numbers, and takes its time.
 */
export function underPublicName(text: string, json: JsonObject, publicName: string): string {
  const { model } = json;
  if (model === publicName) return text;
  const at = text.indexOf(KEY);
  // Within a string the quotes would be escaped. Named twice it may belong to something inside.
  if (typeof model === "string" && at !== -1 && at === text.lastIndexOf(KEY)) {
    const start = valueStart(text, at + KEY.length);
    const value = JSON.stringify(model);
    if (text.startsWith(value, start)) {
      return `${text.slice(0, start)}${JSON.stringify(publicName)}${text.slice(start + value.length)}`;
    }
  }
  return JSON.stringify({ ...json, model: publicName });
}

/** After a colon and blanks. */
function valueStart(text: string, from: number): number {
  let index = from;
  while (index < text.length && ": \t\r\n".includes(text.charAt(index))) index++;
  return index;
}
