/** Where the tokens of calls come from: a text, or a function that is asked again when its answer expires. */

/** A token, or one with the time of its expiry; without that it serves one call, and those that wait for it. */
export type TokenAnswer = string | { readonly token: string; readonly expiresAt?: Date | undefined };

/** Answers with a token for a call or a stream. Its error is that of the call, the upload or the follower. */
export type TokenSource = () => TokenAnswer | Promise<TokenAnswer>;

const RENEWAL_MS = 30_000;

/** The tokens of one client. An answer is kept until shortly before its expiry, if it tells one. */
export class Tokens {
  readonly #source: TokenSource | undefined;
  #kept: string | undefined;
  #keptUntilMs = Infinity;
  #asking: Promise<string> | undefined;

  constructor(token: string | TokenSource | undefined) {
    if (typeof token === "function") {
      this.#source = token;
    } else {
      this.#kept = token;
    }
  }

  /** Whether there may be another token after one has expired. */
  get isRenewable(): boolean {
    return this.#source !== undefined;
  }

  /** The token of a call that begins now; a promise only if the function must be asked. */
  current(): string | undefined | Promise<string> {
    if (this.#source === undefined || (this.#kept !== undefined && Date.now() < this.#keptUntilMs)) {
      return this.#kept;
    }
    this.#asking ??= this.#ask(this.#source).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** Drops a token that has expired, unless a newer one is kept. */
  discard(token: string | undefined): void {
    if (this.#source !== undefined && token === this.#kept) {
      this.#kept = undefined;
    }
  }

  async #ask(source: TokenSource): Promise<string> {
    const answer = await source();
    const { token, expiresAt } = typeof answer === "string" ? { token: answer, expiresAt: undefined } : answer;
    this.#kept = expiresAt === undefined ? undefined : token;
    this.#keptUntilMs = (expiresAt?.getTime() ?? 0) - RENEWAL_MS;
    return token;
  }
}
