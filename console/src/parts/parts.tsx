import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { FareboxError } from "../../../client/farebox-error.ts";
import { ApiError } from "../api.ts";
import { dollars } from "../money.ts";
import { showDate, showTime } from "../times.ts";
import { WalletError } from "../wallet/wallets.ts";

export function Money({ micro }: { readonly micro: string | bigint | null }) {
  return micro === null ? <span class="muted">–</span> : <span class="money">{dollars(micro)}</span>;
}

export function Time({ iso, never = "never" }: { readonly iso: string | null; readonly never?: string }) {
  return iso === null ? <span class="muted">{never}</span> : <time dateTime={iso}>{showTime(iso)}</time>;
}

/** A time as its day alone; the rest is in its title. */
export function Day({ iso, never = "never" }: { readonly iso: string | null; readonly never?: string }) {
  if (iso === null) return <span class="muted">{never}</span>;
  return (
    <time dateTime={iso} title={showTime(iso)}>
      {showDate(iso)}
    </time>
  );
}

/** A wallet's address, short for the eye, whole for copying and for screen readers. */
export function Address({ value }: { readonly value: string }) {
  return (
    <span class="address" title={value}>
      <span aria-hidden="true">{`${value.slice(0, 4)}…${value.slice(-4)}`}</span>
      <span class="unseen">{value}</span>
    </span>
  );
}

/** What to tell a person of an error. */
function messageOf(error: unknown): string {
  if (error instanceof ApiError) {
    const wait = error.retryAfterSeconds === undefined ? "" : ` Try again in ${error.retryAfterSeconds} s.`;
    return `${error.message}${wait}`;
  }
  if (error instanceof WalletError || error instanceof FareboxError) return error.message;
  return error instanceof Error && error.message !== ""
    ? error.message
    : "Something went wrong in this page.";
}

export function ErrorNote({ error, retry }: { readonly error: unknown; readonly retry?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <p>{messageOf(error)}</p>
      {retry !== undefined && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading({ what }: { readonly what: string }) {
  return (
    <p class="loading" role="status">
      <span class="spinner" aria-hidden="true" /> Loading {what}…
    </p>
  );
}

export function Empty({ children }: { readonly children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

/** Copies a text and says so. */
export function CopyButton({ text, label }: { readonly text: string; readonly label: string }) {
  const [done, setDone] = useState<"no" | "copied" | "failed">("no");
  async function copy(): Promise<void> {
    const outcome = await navigator.clipboard.writeText(text).then(
      () => "copied" as const,
      () => "failed" as const,
    );
    setDone(outcome);
  }
  return (
    <>
      <button type="button" class="small" onClick={() => void copy()}>
        {label}
      </button>
      <span class="said" role="status">
        {done === "copied" && "Copied"}
        {done === "failed" && "Select it and copy it by hand"}
      </span>
    </>
  );
}

export interface FieldProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly problem?: string | undefined;
  readonly children: (ids: {
    readonly id: string;
    readonly "aria-describedby": string | undefined;
    readonly "aria-invalid": boolean;
  }) => ComponentChildren;
}

/** A labelled control with its hint and its problem. */
export function Field({ label, hint, problem, children }: FieldProps) {
  const id = useId();
  const described = [hint !== undefined && `${id}-hint`, problem !== undefined && `${id}-problem`].filter(
    Boolean,
  );
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({
        id,
        "aria-describedby": described.length > 0 ? described.join(" ") : undefined,
        "aria-invalid": problem !== undefined,
      })}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {problem !== undefined && (
        <p class="problem" id={`${id}-problem`}>
          {problem}
        </p>
      )}
    </div>
  );
}

/** A modal dialog: focus goes in and comes back, Escape closes it. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  /** What is in it would be lost: neither Escape nor a click beside it closes it. */
  readonly keepOpen?: boolean;
}) {
  const { title, onClose, children, keepOpen = false } = props;
  const box = useRef<HTMLDialogElement>(null);
  const isGone = useRef(false);
  const id = useId();
  // Not after the next paint: by then the focus has gone elsewhere.
  useLayoutEffect(() => {
    const dialog = box.current;
    const before = document.activeElement;
    dialog?.showModal();
    // Not on what closes it: whoever opens it by key types on.
    dialog?.querySelector<HTMLElement>("input, select")?.focus();
    return () => {
      isGone.current = true;
      // While it is open, nothing else takes the focus.
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  /** Told after it has closed, which may be after another took its place. */
  function closed(): void {
    if (isGone.current) return;
    // A browser lets a page refuse one Escape, not the next.
    if (keepOpen) box.current?.showModal();
    else onClose();
  }

  return (
    <dialog
      ref={box}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        if (!keepOpen) onClose();
      }}
      onClose={closed}
    >
      <header class="dialog-head">
        <h2 id={id}>{title}</h2>
        {!keepOpen && (
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
            ×
          </button>
        )}
      </header>
      {children}
    </dialog>
  );
}

/** How much of a limit is spent. */
export function Bar({ percent, label }: { readonly percent: number; readonly label: string }) {
  const level = percent >= 100 ? "full" : percent >= 80 ? "high" : "fine";
  return (
    <div
      class={`bar ${level}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <div
        ref={(inner) => {
          inner?.style.setProperty("width", `${percent}%`);
        }}
      />
    </div>
  );
}

/** A wide table scrolls in a box of its own, which the keyboard reaches. */
export function TableBox({
  label,
  children,
}: {
  readonly label: string;
  readonly children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard
    <section class="table-box" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}

/** A transaction on the chain; a link where an explorer knows it. */
export function Transaction({
  id,
  explorer,
}: {
  readonly id: string | null;
  readonly explorer: string | null;
}) {
  if (id === null) return <span class="muted">–</span>;
  const short = `${id.slice(0, 6)}…`;
  if (explorer === null) {
    return (
      <code class="short" title={id}>
        {short}
      </code>
    );
  }
  return (
    <a
      href={explorer.replace("{signature}", encodeURIComponent(id))}
      target="_blank"
      rel="noreferrer"
      title={id}
    >
      {short}
      <span class="unseen"> transaction {id}, opens an explorer</span>
    </a>
  );
}
