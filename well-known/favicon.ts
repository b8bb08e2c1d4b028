/** `/favicon.svg`: the console's icon. Directories of services show one beside the name, and `@agentcash/discovery` warns without. */
export function faviconSvg(): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><title>Farebox</title><rect width="32" height="32" rx="8" fill="#3b5bdb"/><path d="M11 23V9h11v3h-7v3h6v3h-6v5z" fill="#fff"/></svg>`;
}
