import type { ComponentChildren } from "preact";
import { Dialog, ErrorNote } from "./parts.tsx";
import type { Doing } from "./use-answer.ts";

/** A dialog that asks for one thing to be done, and says why it was not. */
export function DialogForm(props: {
  readonly title: string;
  /** What its button says. */
  readonly action: string;
  /** It cannot be undone. */
  readonly isDanger?: boolean;
  readonly isReady?: boolean;
  readonly doing: Doing;
  readonly onSubmit: () => void;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  const { title, action, isDanger = false, isReady = true, doing, onSubmit, onClose, children } = props;
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady) onSubmit();
        }}
      >
        {children}
        {doing.kind === "failed" && <ErrorNote error={doing.error} />}
        <footer class="dialog-foot">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class={isDanger ? "danger" : "primary"}
            disabled={!isReady || doing.kind === "busy"}
          >
            {action}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
