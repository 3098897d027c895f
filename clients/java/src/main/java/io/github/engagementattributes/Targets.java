package io.github.engagementattributes;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Which servers are on this machine. */
final class Targets {
  // An authority names who resolves the address.
  private static final Pattern SCHEME = Pattern.compile("dns:(?://[^/]*/)?");
  private static final Pattern HOST = Pattern.compile("\\[([^]]*)](?::\\d+)?|([^:]*)(?::\\d+)?");
  private static final Pattern LOOPBACK = Pattern.compile("127(?:\\.\\d{1,3}){3}");
  private static final List<String> NAMES = List.of("localhost", "::1", "0:0:0:0:0:0:0:1");

  private Targets() {}

  /** Whether a target is a socket file, {@code localhost} or a loopback address. */
  static boolean isThisMachine(String target) {
    if (target.startsWith("unix:")) {
      return true;
    }
    Matcher address = HOST.matcher(SCHEME.matcher(target).replaceFirst(""));
    if (!address.matches()) {
      return false;
    }
    String host = address.group(1) == null ? address.group(2) : address.group(1);
    return NAMES.stream().anyMatch(host::equalsIgnoreCase) || LOOPBACK.matcher(host).matches();
  }
}
