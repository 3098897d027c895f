package io.github.engagementattributes;

import java.io.Serializable;

/**
 * One broken rule of one field of a request.
 *
 * @param field path from the request, such as {@code event.customer_info.last_payment_date.month};
 *     empty if the rule concerns the whole request
 * @param rule id of the rule, such as {@code string.max_len}
 * @param description a text for humans that includes the limit
 */
public record FieldViolation(String field, String rule, String description)
    implements Serializable {

  @Override
  public String toString() {
    String place = field.isEmpty() ? "" : field + ": ";
    return place + description + " (" + rule + ")";
  }
}
