/**
 * Client of the engagement attributes service.
 *
 * <p>Start with {@link io.github.engagementattributes.EngagementClient}: it records and lists
 * events, builds {@link io.github.engagementattributes.Uploader}s for bulk uploads and {@link
 * io.github.engagementattributes.Follower}s for new events, and gives access to the generated
 * stubs. Every failed call throws an {@link io.github.engagementattributes.EngagementException}.
 * The messages are in {@code io.github.engagementattributes.v1}, generated from the contract.
 */
@NullMarked
package io.github.engagementattributes;

import org.jspecify.annotations.NullMarked;
