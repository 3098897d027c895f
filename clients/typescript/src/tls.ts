/** Transport security of a connection. */

import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

/** Certificates and a key as PEM. */
export interface TlsOptions {
  /** The certificates to trust; by default the roots of Node.js. */
  readonly ca?: string | Uint8Array | undefined;
  /** Identifies the client to servers that ask for that, with `key`. */
  readonly certificate?: string | Uint8Array | undefined;
  /** The key of `certificate`. */
  readonly key?: string | Uint8Array | undefined;
}

/** The credentials of a channel. Throws a TypeError for a certificate without its key. */
export function channelCredentials(tls: boolean | TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined || tls === false) {
    return credentials.createInsecure();
  }
  const { ca, certificate, key }: TlsOptions = tls === true ? {} : tls;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new TypeError("a client certificate needs both certificate and key");
  }
  return credentials.createSsl(pem(ca), pem(key), pem(certificate));
}

function pem(value: string | Uint8Array | undefined): Buffer | null {
  return value === undefined ? null : Buffer.from(value);
}
