package io.github.engagementattributes;

import io.github.engagementattributes.v1.Tally;

/**
 * The result of a finished upload.
 *
 * @param uploadId id of the upload
 * @param tally totals of the whole upload, including earlier runs and events rejected by the client
 *     itself
 * @param events number of events of the whole upload; each has one of the tally's outcomes
 * @param reconnects number of connections that this run has lost
 * @param skippedEvents number of the source's events that an earlier run had committed; if it is
 *     not 0, {@link EngagementClient#uploadRejections} has all rejections by the server
 * @param resumedByCount whether these events were skipped by their number and not compared, because
 *     the earlier run sent no digest of its source
 */
public record UploadSummary(
    String uploadId,
    Tally tally,
    long events,
    int reconnects,
    long skippedEvents,
    boolean resumedByCount) {}
