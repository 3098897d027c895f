/**
 * Checks events against the rules of the contract before they are sent, which is optional: the
 * server checks them all.
 *
 * <p>Needs protovalidate with its engine: add {@code build.buf:protovalidate} to the dependencies.
 */
@NullMarked
package io.github.engagementattributes.validation;

import org.jspecify.annotations.NullMarked;
