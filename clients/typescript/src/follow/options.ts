/** Options of a follower, and the request that they make. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";

import type { EngagementError } from "../errors.js";
import {
  type EventFilterSchema,
  type SubscribeEventsRequest,
  SubscribeEventsRequestSchema,
  type SubscribeEventsResponse_ErasureNotice,
} from "../gen/engagement/v1/index.js";

/** Where a follower starts: exactly one of these. */
export interface FollowStart {
  /** With the first event after this cursor. */
  readonly afterCursor?: string | undefined;
  /** With the earliest event that is retained. */
  readonly earliest?: true | undefined;
  /** With the next event that is accepted. */
  readonly latest?: true | undefined;
  /** With the first event accepted at this time or later. */
  readonly startTime?: Date | Timestamp | undefined;
}

/** Options of a follower. Exactly one member of FollowStart is required. */
export interface FollowOptions extends FollowStart {
  /** Selects events; by default all. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema> | undefined;
  /** End after the events that are already stored. */
  readonly stopAtTail?: boolean | undefined;
  /** Maximum number of events in a batch; by default, and with 0, the server's choice. */
  readonly maxBatchEvents?: number | undefined;
  /** Longest silence of the server, 5 to 60 seconds; by default the server's choice. */
  readonly heartbeatSeconds?: number | undefined;
  /** How long to keep reconnecting without progress, in seconds; 300 by default. */
  readonly maxOutageSeconds?: number | undefined;
  /**
   * Called, and awaited, between the events before and after an erasure. If it throws, the iteration rejects with the
   * error and the notice comes again.
   */
  readonly onErasure?: ((notice: SubscribeEventsResponse_ErasureNotice) => void | Promise<void>) | undefined;
  /** Called with the error that ended a connection. If it throws, the iteration rejects with the error. */
  readonly onReconnect?: ((error: EngagementError) => void) | undefined;
  /** Cancels the iteration, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The request of a subscription. Throws a TypeError unless the options have exactly one start. */
export function subscribeRequest(accountId: string, options: FollowOptions): SubscribeEventsRequest {
  const { filter, stopAtTail, maxBatchEvents, heartbeatSeconds } = options;
  return create(SubscribeEventsRequestSchema, {
    accountId,
    start: start(options),
    ...(filter !== undefined && { filter }),
    ...(stopAtTail !== undefined && { stopAtTail }),
    ...(maxBatchEvents !== undefined && { maxBatchEvents }),
    ...(heartbeatSeconds !== undefined && { heartbeatInterval: durationFromMs(heartbeatSeconds * 1000) }),
  });
}

function start({ afterCursor, earliest, latest, startTime }: FollowStart): SubscribeEventsRequest["start"] {
  const starts: SubscribeEventsRequest["start"][] = [];
  if (afterCursor !== undefined) {
    starts.push({ case: "afterCursor", value: afterCursor });
  }
  if (earliest) {
    starts.push({ case: "earliest", value: true });
  }
  if (latest) {
    starts.push({ case: "latest", value: true });
  }
  if (startTime !== undefined) {
    starts.push({
      case: "startTime",
      value: startTime instanceof Date ? timestampFromDate(startTime) : startTime,
    });
  }
  const [only, ...others] = starts;
  if (only === undefined || others.length > 0) {
    throw new TypeError("follow takes exactly one of afterCursor, earliest, latest and startTime");
  }
  return only;
}
