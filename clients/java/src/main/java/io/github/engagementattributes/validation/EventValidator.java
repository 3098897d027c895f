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
 * Checks events against the contract's annotations, without a server. Thread-safe.
 *
 * <p>Only the server can check the rest: the size of an event, times ahead of its clock, ids used
 * for different content, and closed lists of entities.
 */
public final class EventValidator {
  private final Validator validator = ValidatorFactory.newBuilder().build();

  /** Creates a validator, which reads the rules of a message type when it is first needed. */
  public EventValidator() {}

  /**
   * Checks an event or any other message of the contract.
   *
   * @param message the message to check
   * @return the broken rules, in the order of the fields, with paths from the message; empty if it
   *     is valid
   */
  public List<FieldViolation> violations(Message message) {
    try {
      return validator.validate(message).getViolations().stream()
          .map(EventValidator::convert)
          .toList();
    } catch (ValidationException error) {
      // The fault is not in the message but in the rules, which are compiled into this package.
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
