import { type Chain, ChainError } from "./chain.ts";

/** `lagging`: it answers, and its block height is behind. `failing`: its last answer did not come or was none. */
export type NodeState = "ok" | "lagging" | "failing";

export interface NodePoolOptions {
  /** One for each URL, in the order in which they are to be asked. At least one. */
  readonly nodes: readonly Chain[];
  /** Told of every change of a node's state; `node` counts from 1. A node begins as `ok`. */
  readonly onState: (node: number, state: NodeState, error: unknown) => void;
}

/** One of the nodes. All questions of one verdict go to the same. */
export interface PoolNode extends Chain {
  /**
   * True if its own height is behind another node's, or behind what the chain's was at `claimHeight`: it may not have seen
   * what has landed, so nothing is absent because it does not show it.
   */
  lags(claimHeight: bigint | undefined): boolean;
}

/** One or two nodes of the same chain, of which any may fail or lag. */
export interface NodePool {
  /**
   * The greatest block height that a node tells now; throws {@link ChainError} if none answers. Asks every node, which is how
   * those that lag are noticed; one that did not tell its height last time is not waited for while others do.
   */
  height(): Promise<bigint>;
  /** All nodes: those that keep up first, those that fail last. */
  inOrder(): readonly PoolNode[];
  /** The answer of the first node that has one; throws the last {@link ChainError} if none has. Other errors are thrown on. */
  ask<T>(question: (node: Chain) => Promise<T>): Promise<T>;
}

/** Some 20 s. Nodes that keep up differ by a few blocks, and their heights are not read at the same moment. */
const LAG_BLOCKS = 50n;
/**
 * A claim's height is an upper bound of the chain's (height-tracker.ts), by up to about 75 blocks. Only a node that is
 * further behind than that is known to lag by it.
 */
const CLAIM_SLACK_BLOCKS = 100n;

const RANK: Readonly<Record<NodeState, number>> = { ok: 0, lagging: 1, failing: 2 };

interface Member {
  readonly number: number;
  readonly chain: Chain;
  state: NodeState;
  /** Its newest known height, by its own account. Kept while it fails: the chain is no lower than that. */
  height: bigint | undefined;
  /** The round in which that was asked for: an answer that comes late does not replace a newer one. */
  round: number;
  /** It answered when it was last asked for its height. */
  tells: boolean;
  /** The height of a claim that it was found to be behind. */
  missed: bigint;
}

/** Puts nodes together; see {@link NodePool}. */
export function createNodePool({ nodes, onState }: NodePoolOptions): NodePool {
  const members = nodes.map((chain, index): Member => {
    return { number: index + 1, chain, state: "ok", height: undefined, round: 0, tells: true, missed: 0n };
  });

  let rounds = 0;

  function enter(member: Member, state: NodeState, error?: unknown): void {
    if (member.state === state) return;
    member.state = state;
    onState(member.number, state, error);
  }

  function isBehind(member: Member): boolean {
    const { height, missed } = member;
    if (height === undefined) return false;
    if (height + CLAIM_SLACK_BLOCKS < missed) return true;
    return members.some((other) => other.height !== undefined && height + LAG_BLOCKS < other.height);
  }

  function failed(member: Member, error: unknown): unknown {
    if (error instanceof ChainError) enter(member, "failing", error);
    return error;
  }

  /** Runs a request of this node and notes whether it answered. */
  async function watch<T>(member: Member, request: () => Promise<T>): Promise<T> {
    try {
      const answer = await request();
      if (member.state === "failing") compare(member);
      return answer;
    } catch (error) {
      throw failed(member, error);
    }
  }

  /** Sets the state of a node that answers, by what is known of the heights. */
  function compare(member: Member): void {
    enter(member, isBehind(member) ? "lagging" : "ok");
  }

  async function readHeight(member: Member, round: number): Promise<bigint> {
    try {
      const height = await watch(member, () => member.chain.height());
      member.tells = true;
      if (round > member.round) {
        member.height = height;
        member.round = round;
      }
      return height;
    } catch (error) {
      member.tells = false;
      throw error;
    }
  }

  async function askHeight(): Promise<bigint> {
    rounds += 1;
    const round = rounds;
    const asked = members.map((member): Asked => {
      const { tells } = member;
      return { tells, answer: readHeight(member, round).catch((error: unknown) => toError(error)) };
    });
    const prompt = asked.filter(({ tells }) => tells);
    const greatest = (await greatestOf(prompt)) ?? (await greatestOf(asked));
    // Only now: within a round one height is newer than the other by the time between two answers.
    for (const member of members) if (member.state !== "failing") compare(member);
    if (greatest !== undefined) return greatest;
    const [first] = asked;
    throw (await first?.answer) ?? new ChainError("There is no node to ask.");
  }

  function nodeOf(member: Member): PoolNode {
    const { chain } = member;
    return {
      height: () => watch(member, () => chain.height()),
      finalizedHeight: () => watch(member, () => chain.finalizedHeight()),
      finalizedAt: () => watch(member, () => chain.finalizedAt()),
      find: (record) => watch(member, () => chain.find(record)),
      transaction: (signature) => watch(member, () => chain.transaction(signature)),
      mint: (mint) => watch(member, () => chain.mint(mint)),
      async *history(owner, mint, since) {
        try {
          yield* chain.history(owner, mint, since);
        } catch (error) {
          throw failed(member, error);
        }
      },
      tokenAccount: (owner, mint) => watch(member, () => chain.tokenAccount(owner, mint)),
      latestBlockhash: (commitment) => watch(member, () => chain.latestBlockhash(commitment)),
      storedAccount: (address, commitment) => watch(member, () => chain.storedAccount(address, commitment)),
      lags(claimHeight) {
        if (member.height === undefined) return true;
        if (claimHeight !== undefined && claimHeight > member.missed) member.missed = claimHeight;
        const lags = isBehind(member);
        if (lags) enter(member, "lagging");
        return lags;
      },
    };
  }

  const pooled = members.map((member) => ({ member, node: nodeOf(member) }));
  const inOrder = (): readonly PoolNode[] =>
    pooled.toSorted((a, b) => RANK[a.member.state] - RANK[b.member.state]).map(({ node }) => node);

  return {
    inOrder,
    height: askHeight,
    async ask(question) {
      let last: unknown = new ChainError("There is no node to ask.");
      for (const node of inOrder()) {
        try {
          return await question(node);
        } catch (error) {
          if (!(error instanceof ChainError)) throw error;
          last = error;
        }
      }
      throw last;
    },
  };
}

interface Asked {
  /** It answered the time before. */
  readonly tells: boolean;
  readonly answer: Promise<bigint | Error>;
}

/** The greatest height that is answered; undefined if there is none. */
async function greatestOf(asked: readonly Asked[]): Promise<bigint | undefined> {
  let greatest: bigint | undefined;
  for (const answer of await Promise.all(asked.map((each) => each.answer))) {
    if (typeof answer === "bigint" && (greatest === undefined || answer > greatest)) greatest = answer;
  }
  return greatest;
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new ChainError("The node failed.", { cause: error });
}
