package io.github.engagementattributes;

import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Iterates over the pages of a list, one page in memory.
 *
 * @param <T> the type of the items
 */
final class Pages<T> implements Iterator<T> {
  /** One page; {@code nextToken} is empty on the last. */
  record Page<T>(List<T> items, String nextToken) {}

  private final Function<String, Page<T>> fetch;
  private Iterator<T> items = Collections.emptyIterator();
  // Null after the last page.
  private @Nullable String nextToken;

  /** {@code fetch} returns the page of a token. */
  Pages(String firstToken, Function<String, Page<T>> fetch) {
    this.nextToken = firstToken;
    this.fetch = fetch;
  }

  @Override
  public boolean hasNext() {
    // An empty page is not necessarily the last; an empty token is.
    while (!items.hasNext() && nextToken != null) {
      Page<T> page = fetch.apply(nextToken);
      items = page.items().iterator();
      nextToken = page.nextToken().isEmpty() ? null : page.nextToken();
    }
    return items.hasNext();
  }

  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    return items.next();
  }
}
