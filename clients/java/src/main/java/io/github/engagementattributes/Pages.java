package io.github.engagementattributes;

import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A walk through the pages of a list, one page in memory.
 *
 * @param <T> what the list holds
 */
final class Pages<T> implements Iterator<T> {
  /** One page; {@code nextToken} is empty on the last. */
  record Page<T>(List<T> items, String nextToken) {}

  private final Function<String, Page<T>> fetch;
  private Iterator<T> items = Collections.emptyIterator();
  // Null behind the last page.
  private @Nullable String nextToken;

  /** {@code fetch} gives the page of a token. */
  Pages(String firstToken, Function<String, Page<T>> fetch) {
    this.nextToken = firstToken;
    this.fetch = fetch;
  }

  @Override
  public boolean hasNext() {
    // A page without items is not the last one: the token says which is.
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
