package io.github.engagementattributes.validation;

import build.buf.protovalidate.Validator;
import build.buf.protovalidate.ValidatorFactory;
import build.buf.protovalidate.Violation;
import build.buf.protovalidate.exceptions.ValidationException;
import build.buf.validate.FieldPath;
import build.buf.validate.FieldPathElement;
import com.google.protobuf.Message;
import io.github.engagementattributes.FieldViolation;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Finds what the server would refuse, without a server, from the annotations of the contract.
 *
 * <p>Only the server can check the rest: the size of an event, times ahead of its clock, ids that
 * are taken by other content, and closed lists of entities. Any number of threads may share one.
 */
public final class EventValidator {
  private final Validator validator = ValidatorFactory.newBuilder().build();

  /** Makes a validator; the rules of a kind of message are read when it first comes. */
  public EventValidator() {}

  /**
   * Checks an event or any other message of the contract.
   *
   * @param message stays as it is
   * @return the broken rules, in the order of the fields, with paths from the message; empty where
   *     there are none
   */
  public List<FieldViolation> violations(Message message) {
    try {
      return validator.validate(message).getViolations().stream()
          .map(EventValidator::convert)
          .toList();
    } catch (ValidationException error) {
      // Not the message is at fault but the rules, which are compiled into this package.
      throw new IllegalStateException("the rules of the contract cannot be read", error);
    }
  }

  private static FieldViolation convert(Violation violation) {
    var found = violation.toProto();
    return new FieldViolation(render(found.getField()), found.getRuleId(), found.getMessage());
  }

  private static String render(FieldPath path) {
    return path.getElementsList().stream()
        .map(EventValidator::render)
        .collect(Collectors.joining("."));
  }

  private static String render(FieldPathElement element) {
    return switch (element.getSubscriptCase()) {
      case INDEX -> element.getFieldName() + "[" + element.getIndex() + "]";
      case STRING_KEY -> element.getFieldName() + "[\"" + element.getStringKey() + "\"]";
      default -> element.getFieldName();
    };
  }
}
