/**
 * Optional: checks events against the rules of the contract before they are sent. The server checks
 * them all.
 *
 * <p>Needs protovalidate with its engine: add {@code build.buf:protovalidate} to your dependencies.
 */
@NullMarked
package io.github.engagementattributes.validation;

import org.jspecify.annotations.NullMarked;
