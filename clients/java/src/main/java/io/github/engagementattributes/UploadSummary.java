package io.github.engagementattributes;

import io.github.engagementattributes.v1.Tally;

/**
 * A finished upload.
 *
 * @param uploadId name of the upload
 * @param tally totals of the whole upload, of earlier runs too, and of the events that the client
 *     itself refused
 * @param events events of the whole upload; every one has one of the tally's outcomes
 * @param reconnects connections that this run has lost
 * @param skippedEvents events of the source that an earlier run had committed; where there are
 *     some, {@link EngagementClient#uploadRejections} has all rejections of the server
 */
public record UploadSummary(
    String uploadId, Tally tally, long events, int reconnects, long skippedEvents) {}
