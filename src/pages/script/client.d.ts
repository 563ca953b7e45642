/**
 * What `/.stepgate/client.js` tells an application, for those that bring their own dialog.
 *
 *     addEventListener("stepgate:challenge", (event) => {
 *       event.preventDefault();                  // no dialog of the gateway's
 *       myDialog(event.detail);                  // calls answer(), reject() or cancel()
 *     });
 *
 * The call that waits goes on by itself: it is sent again once a challenge is approved, and its caller gets the final
 * answer; after `reject()` or `cancel()` its caller gets the gateway's refusal.
 */
export {};

type Factor = "totp" | "sms" | "webauthn" | "mail" | "recovery" | "external";
type State = "open" | "approved" | "used" | "rejected" | "expired" | "locked";

interface StepgateChallenge {
  challenge_id: string;
  state: State;
  /** A code lets one transaction pass, or it shows who is there. The two must not look alike. */
  about: "transaction" | "place";
  action: string;
  /** Those that can still bring it nearer to approval. */
  factors: Factor[];
  attempts_left: number;
  /** Unix seconds. */
  expires_at: number;
  /** As the gateway stored it: show all of it, and nothing of your own in its place. */
  transaction: { name: string; value: string }[];
  why: string[];
  place: string;
  client: string;
  /** What it was asked with, as far as that says so of itself. */
  device?: { program: string; system?: string };
  /** Unix seconds. */
  asked_at: number;
  /** Whether the destination stands in the account's address book, and since when (Unix seconds). */
  address_known?: boolean;
  address_since?: number;
  /** Masked number, once a text message was sent. */
  sent_to?: string;
  held: boolean;
}

interface StepgateAnswer {
  ok: boolean;
  status: number;
  state?: State;
  /** One factor was right, another is needed. */
  factors?: Factor[];
  attempts_left?: number;
  /** `wrong_code`, `wrong_passkey`, `replayed_code`, `bad_code`, `expired`, `locked`, `sms_unavailable`, … with its sentence in `title`. */
  error?: string;
  title?: string;
  sent_to?: string;
  /** What a passkey is asked, with its bytes in base64url: `PublicKeyCredential.parseRequestOptionsFromJSON` reads it. */
  publicKey?: object;
}

interface StepgateQuestion {
  /** A copy that cannot be changed. */
  challenge: StepgateChallenge;
  /** The page where the same question can be answered. */
  url: string;
  /** Aborted when no caller waits for the answer any more: close the dialog. */
  signal: AbortSignal;
  /** A code; or, for `webauthn`, what the browser made of `publicKey`, as its `toJSON()` spells it. */
  answer(factor: Factor, code: string | object): Promise<StepgateAnswer>;
  /** Sends a code; for `webauthn` its answer has `publicKey`, for `navigator.credentials.get`. */
  send(factor?: "sms" | "webauthn"): Promise<StepgateAnswer>;
  /** "This wasn't me"; with `true` the account is frozen. */
  reject(freeze?: boolean): Promise<StepgateAnswer>;
  /** The owner does not want to answer now. */
  cancel(): void;
}

declare global {
  interface WindowEventMap {
    "stepgate:challenge": CustomEvent<StepgateQuestion>;
    "stepgate:approved": CustomEvent<{ challenge: StepgateChallenge }>;
    "stepgate:closed": CustomEvent<{ challenge: StepgateChallenge }>;
  }
  interface Window {
    readonly stepgate: { readonly version: 1 };
  }
}
