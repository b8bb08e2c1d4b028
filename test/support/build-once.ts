import type { TestProject } from "vitest/node";
import { buildProgram } from "./build-program.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** `server/main.js` of the program as it is shipped, built once for the whole run. */
    readonly main: string;
  }
}

/** Builds the program for those tests that start it as a process: a build starts in a third of the time that its sources take. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const build = await buildProgram();
  project.provide("main", build.main);
  return () => build.remove();
}
