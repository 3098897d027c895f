/**
 * Client of the engagement attributes service.
 *
 * <p>{@link io.github.engagementattributes.EngagementClient} is where everything starts: it records
 * events, lists them, makes {@link io.github.engagementattributes.Uploader}s for bulk and {@link
 * io.github.engagementattributes.Follower}s for what comes in, and gives access to the generated
 * stubs. Every failed call is an {@link io.github.engagementattributes.EngagementException}. The
 * messages are in {@code io.github.engagementattributes.v1}, generated from the contract.
 */
@NullMarked
package io.github.engagementattributes;

import org.jspecify.annotations.NullMarked;
