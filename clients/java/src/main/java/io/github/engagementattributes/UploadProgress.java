package io.github.engagementattributes;

import io.github.engagementattributes.v1.Tally;

/**
 * How far an upload is, counted in events of its source.
 *
 * @param sent events given to the connection, in this run or in an earlier one
 * @param acknowledged events with an outcome: those of the tally together
 * @param tally how many events had each outcome
 * @param reconnects connections that this run has lost
 */
public record UploadProgress(long sent, long acknowledged, Tally tally, int reconnects) {}
