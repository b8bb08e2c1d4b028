import { getUsdcAddress, MAINNET_RPC_URL, SOLANA_MAINNET_CAIP2 } from "@x402/svm";
import type { z } from "zod";
import { readEvents } from "./answer-body.ts";
import {
  type AgentAnswer,
  type AgentEvent,
  agentAnswerSchema,
  agentEventSchema,
  type ChatAnswer,
  type ChatEvent,
  chatAnswerSchema,
  chatEventSchema,
  errorEventSchema,
  keyStatusSchema,
} from "./answers.ts";
import { chooseAsset } from "./asset.ts";
import { FareboxError } from "./farebox-error.ts";
import { createKeyFetch } from "./key-fetch.ts";
import { openWallet, type WalletSource } from "./open-wallet.ts";
import type { Payment } from "./payment.ts";
import { createPaymentFetch, type PaymentFetchOptions } from "./payment-fetch.ts";
import { errorOf } from "./resend-policy.ts";
import { brokenOff, type Caller, type PaidAnswer, type SendOptions } from "./send-until-answered.ts";
import { readTokenBalance } from "./token-balance.ts";
import { type MicroUsd, parseUsd } from "./usd.ts";

export type { AgentAnswer, AgentEvent, ChatAnswer, ChatEvent } from "./answers.ts";
export { FareboxError } from "./farebox-error.ts";
export type { WalletSource } from "./open-wallet.ts";
export type { Payment } from "./payment.ts";
export type { PaymentEvent } from "./payment-fetch.ts";

const LOCAL_URL = "http://127.0.0.1:4020";
const LOCAL_RPC_URL = "http://127.0.0.1:8899";
const DEFAULT_MAX_PRICE = "$0.05";
const MAX_UNKNOWN_WAIT_MS = 600_000;

interface CommonOptions extends SendOptions {
  /** Of the service, without a path. Default: local mode's `http://127.0.0.1:4020`. */
  readonly baseUrl?: string;
}

/** Pays from a prepaid balance. */
export interface KeyOptions extends CommonOptions {
  readonly apiKey: string;
  readonly wallet?: undefined;
}

/** Pays each call from a wallet. */
export interface WalletOptions
  extends CommonOptions,
    Pick<PaymentFetchOptions, "networks" | "rpcUrl" | "onEvent" | "beforeSigning"> {
  readonly wallet: WalletSource;
  readonly apiKey?: undefined;
  /** Nothing dearer is signed. Default "$0.05"; a bigint is micro-USD. For USDC. */
  readonly maxPrice?: string | MicroUsd;
  /** Pays in this token and nothing else: its mint, or `"PLAY"` with `local`. Default: USDC. Needs `maxAmount`. */
  readonly asset?: string;
  /** Nothing dearer is signed in `asset`: whole tokens, such as `"600"`; a bigint is atomic units. */
  readonly maxAmount?: string | bigint;
  /** Play money: the RPC is local mode's, unless named. */
  readonly local?: boolean;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ResumeOptions extends CallOptions {
  /** The `Authorization` header of the call, where it had one: a payment holds no key. Needed in another process alone. */
  readonly authorization?: string | undefined;
}

export interface AgentOptions extends CallOptions {
  readonly model?: string;
  readonly system?: string;
}

/** The body of an OpenAI chat completion. */
export type ChatRequest = Readonly<Record<string, unknown>> & {
  readonly model: string;
  readonly messages: readonly unknown[];
  readonly stream?: boolean;
};

/**
 * A client of a Farebox service that never pays twice for one call (docs/client.md).
 * Methods reject with {@link FareboxError}, or with the reason of the caller's own signal.
 */
export class Farebox {
  readonly #baseUrl: string;
  readonly #caller: Caller;
  readonly #readBalance: () => Promise<MicroUsd>;

  constructor(options: KeyOptions | WalletOptions) {
    this.#baseUrl = (options.baseUrl ?? LOCAL_URL).replace(/\/+$/, "");
    if (!URL.canParse(this.#baseUrl)) throw invalid("baseUrl is no URL");
    const sending = {
      ...options,
      maxAttempts: options.maxAttempts ?? Number.POSITIVE_INFINITY,
      maxUnknownWaitMs: options.maxUnknownWaitMs ?? MAX_UNKNOWN_WAIT_MS,
      wholeAnswers: options.wholeAnswers ?? true,
    };
    if (options.wallet === undefined) {
      if (!options.apiKey) throw invalid("an apiKey or a wallet is needed");
      this.#caller = createKeyFetch({
        ...sending,
        apiKey: options.apiKey,
        origin: new URL(this.#baseUrl).origin,
      });
      this.#readBalance = () => this.#keyBalance();
      return;
    }
    const { networks = [SOLANA_MAINNET_CAIP2], local = false } = options;
    const rpcUrl = options.rpcUrl ?? (local ? LOCAL_RPC_URL : undefined);
    const wallet = () => openWallet(options.wallet);
    this.#caller = createPaymentFetch({
      ...sending,
      wallet,
      networks,
      rpcUrl,
      maxPrice: readMaxPrice(options),
      asset: chooseAsset(options),
    });
    this.#readBalance = () => walletBalance(wallet, rpcUrl, networks);
  }

  /** Asks the agent one thing; with `stream: true` its reply comes as events. */
  agent(prompt: string, options: AgentOptions & { readonly stream: true }): AsyncIterable<AgentEvent>;
  agent(prompt: string, options?: AgentOptions & { readonly stream?: false }): Promise<AgentAnswer>;
  agent(
    prompt: string,
    options: AgentOptions & { readonly stream?: boolean } = {},
  ): AsyncIterable<AgentEvent> | Promise<AgentAnswer> {
    const { signal, ...fields } = options;
    const body = { prompt, ...fields };
    return fields.stream === true
      ? this.#events("/agent", body, agentEventSchema, signal)
      : this.#value("/agent", body, agentAnswerSchema, signal);
  }

  /** A chat completion in OpenAI's words; with `stream: true` its chunks. */
  chat(request: ChatRequest & { readonly stream: true }, options?: CallOptions): AsyncIterable<ChatEvent>;
  chat(request: ChatRequest & { readonly stream?: false }, options?: CallOptions): Promise<ChatAnswer>;
  chat(request: ChatRequest, { signal }: CallOptions = {}): AsyncIterable<ChatEvent> | Promise<ChatAnswer> {
    const path = "/v1/chat/completions";
    return request.stream === true
      ? this.#events(path, request, chatEventSchema, signal)
      : this.#value(path, request, chatAnswerSchema, signal);
  }

  /** What can be spent, in micro-USD: of the key (balance, within its limit), or the wallet's USDC on the chain. */
  getBalance(): Promise<MicroUsd> {
    return this.#readBalance();
  }

  /**
   * For the `fetch` option of the OpenAI SDK. The SDK's bearer key is taken away: it would be refused, or paid from.
   * Its own retries send the same payment, because it is the same call.
   */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    headers.delete("authorization");
    return this.request(input, { ...init, headers });
  };

  /** Like `fetch`, with the headers as they are given. */
  async request(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    return (await this.#caller.ask(input, init)).response;
  }

  /** Asks again for what a payment bought: one of a {@link FareboxError}, or of {@link Farebox.unfinished}. */
  async resume(payment: Payment, { signal, authorization }: ResumeOptions = {}): Promise<Response> {
    return (await this.#caller.resume(payment, signal, authorization)).response;
  }

  /** Signed payments without an end, to be kept before the process ends. */
  unfinished(): readonly Payment[] {
    return this.#caller.unfinished();
  }

  async #value<T>(
    path: string,
    body: object,
    schema: z.ZodType<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { response, payment } = await this.#post(path, body, signal);
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (parsed.success) return parsed.data;
    const { status } = response;
    throw new FareboxError("answer_unreadable", "The answer is not what this path gives.", {
      status,
      payment,
    });
  }

  async *#events<T>(
    path: string,
    body: object,
    schema: z.ZodType<T>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<T> {
    const { response, payment, keep } = await this.#post(path, body, signal);
    const { status } = response;
    // A proxy may end what broke off behind it as if it were whole.
    const cut = () => {
      keep?.();
      return brokenOff(new Error("it has no end"), payment);
    };
    for await (const data of readEvents(response, cut)) {
      const failed = errorEventSchema.safeParse(data);
      if (failed.success) {
        const { code, reason, message } = failed.data.error;
        throw new FareboxError(String(reason ?? code), String(message), { status, payment });
      }
      const parsed = schema.safeParse(data);
      if (!parsed.success) {
        throw new FareboxError("answer_unreadable", "An event is not what this path gives.", {
          status,
          payment,
        });
      }
      yield parsed.data;
    }
  }

  async #post(path: string, body: object, signal: AbortSignal | undefined): Promise<PaidAnswer> {
    const answer = await this.#caller.ask(`${this.#baseUrl}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
    if (answer.response.ok) return answer;
    throw await errorOf(answer.response, { payment: answer.payment });
  }

  async #keyBalance(): Promise<MicroUsd> {
    const { response } = await this.#caller.ask(`${this.#baseUrl}/v1/key`);
    if (!response.ok) throw await errorOf(response, {});
    const parsed = keyStatusSchema.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success) throw new FareboxError("answer_unreadable", "GET /v1/key names no balance.");
    const balance = BigInt(parsed.data.balance_micro_usd);
    const limit = BigInt(parsed.data.limit_remaining_micro_usd ?? balance);
    return limit < balance ? limit : balance;
  }
}

async function walletBalance(
  wallet: () => ReturnType<typeof openWallet>,
  rpcUrl: string | undefined,
  [network = SOLANA_MAINNET_CAIP2]: readonly string[],
): Promise<MicroUsd> {
  if (rpcUrl === undefined && network !== SOLANA_MAINNET_CAIP2) {
    throw new FareboxError("rpc_missing", "To read the balance on this network, name its rpcUrl.");
  }
  const { address } = await wallet();
  return readTokenBalance(rpcUrl ?? MAINNET_RPC_URL, address, getUsdcAddress(asCaip2(network)));
}

function asCaip2(network: string): `${string}:${string}` {
  const [namespace = "", reference = ""] = network.split(":");
  return `${namespace}:${reference}`;
}

function readMaxPrice({ maxPrice = DEFAULT_MAX_PRICE }: WalletOptions): MicroUsd {
  const price = typeof maxPrice === "bigint" ? maxPrice : parseUsd(maxPrice);
  if (price === undefined) throw invalid('maxPrice is an amount in USD such as "$0.05"');
  return price;
}

function invalid(problem: string): FareboxError {
  return new FareboxError("invalid_options", `new Farebox(…): ${problem}.`);
}
