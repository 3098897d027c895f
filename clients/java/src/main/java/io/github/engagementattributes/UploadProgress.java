package io.github.engagementattributes;

import io.github.engagementattributes.v1.Tally;

/**
 * The progress of an upload, in events of its source.
 *
 * @param sent number of events passed to the connection, in this run or an earlier one
 * @param acknowledged number of events with an outcome, which is the sum of the tally
 * @param tally number of events by outcome
 * @param reconnects number of connections that this run has lost
 */
public record UploadProgress(long sent, long acknowledged, Tally tally, int reconnects) {}
