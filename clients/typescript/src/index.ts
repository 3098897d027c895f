/** The client of the engagement attributes service. The messages of the contract are in `./v1`. */

export {
  type ClientOptions,
  EngagementClient,
  type ListEventsOptions,
  type RecordEventOptions,
  type RecordEventsOptions,
} from "./client.js";
export type { CallOptions, ConnectionOptions } from "./connection.js";
export { EngagementError, type ErrorKind, type ErrorParts, type FieldViolation } from "./errors.js";
export type { EventBatch, Follower } from "./follow/follower.js";
export type { FollowOptions, FollowStart } from "./follow/options.js";
export type { RpcCall } from "./rpc-call.js";
export type { Stub } from "./stub.js";
export type { TlsOptions } from "./tls.js";
export type { TokenAnswer, TokenSource } from "./tokens.js";
export type { EventInit, UploadSource } from "./upload/chunker.js";
export type { RejectedEvent, UploadProgress, UploadSummary } from "./upload/ledger.js";
export type { UploadOptions } from "./upload/uploader.js";
export { uuid7 } from "./uuid7.js";
