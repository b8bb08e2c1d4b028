const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** The day in the reader's own zone, where a table has no room for the hour. */
export function showDate(iso: string): string {
  return date.format(new Date(iso));
}

/** In the reader's own zone. */
export function showTime(iso: string): string {
  return moment.format(new Date(iso));
}

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

/** `2026-11-26` is a day in UTC, whatever the reader's zone. */
export function showUtcDay(date: string): string {
  return day.format(new Date(`${date}T00:00:00Z`));
}
