/** The peer takes its port as an argument only. */
process.argv.push(`--port=${process.env.PORT}`, "--headless");
await import("@portkey-ai/gateway/build/start-server.js");
