/** `/robots.txt`: everything may be read. What costs money answers 402 by itself. */
export function robotsTxt(): string {
  return "User-agent: *\nAllow: /\n";
}
