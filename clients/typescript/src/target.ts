/** Which servers are on this machine. */

import { BlockList, isIP } from "node:net";

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

// An authority names who resolves the address.
const SCHEME = /^(?:dns:(?:\/\/[^/]*\/)?|ipv4:|ipv6:)/;

/** Whether a target is a socket file, `localhost` or loopback addresses, and nothing else. */
export function isThisMachine(target: string): boolean {
  if (target.startsWith("unix:")) {
    return true;
  }
  // The schemes of addresses take several, divided by commas.
  return target
    .replace(SCHEME, "")
    .split(",")
    .every((address) => isLoopback(hostOf(address)));
}

function hostOf(address: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(address);
  return bracketed?.[1] ?? (address.split(":").length === 2 ? address.replace(/:.*$/, "") : address);
}

function isLoopback(host: string): boolean {
  const version = isIP(host);
  return version === 0 ? host.toLowerCase() === "localhost" : LOOPBACK.check(host, version === 4 ? "ipv4" : "ipv6");
}
