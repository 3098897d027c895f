package io.github.engagementattributes.validation;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.engagementattributes.FieldViolation;
import io.github.engagementattributes.v1.CustomerInfo;
import io.github.engagementattributes.v1.Date;
import io.github.engagementattributes.v1.Event;
import java.util.List;
import org.junit.jupiter.api.Test;

final class EventValidatorTest {
  private final EventValidator validator = new EventValidator();

  @Test
  void a_valid_event_has_no_violations() {
    assertEquals(List.of(), validator.violations(event("x".repeat(50_000), 29)));
  }

  @Test
  void each_broken_rule_is_named_with_its_field() {
    Event event =
        event("x".repeat(50_001), 30).toBuilder().putAdditionalAttributes("key", "\0").build();
    assertEquals(
        List.of(
            new FieldViolation(
                "customer_info.balance", "string.max_len", "must be at most 50000 characters"),
            new FieldViolation(
                "customer_info.last_payment_date",
                "date.calendar_day",
                "must be a day of the calendar")),
        validator.violations(event).subList(0, 2));
    assertEquals("additional_attributes[\"key\"]", validator.violations(event).get(2).field());
  }

  @Test
  void an_event_without_attributes_is_incomplete() {
    assertEquals(
        List.of("required"),
        validator.violations(Event.getDefaultInstance()).stream()
            .map(FieldViolation::rule)
            .toList());
  }

  private static Event event(String balance, int dayOfFebruary) {
    Date date = Date.newBuilder().setYear(2024).setMonth(2).setDay(dayOfFebruary).build();
    return Event.newBuilder()
        .setCustomerInfo(CustomerInfo.newBuilder().setBalance(balance).setLastPaymentDate(date))
        .build();
  }
}
