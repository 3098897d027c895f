//! Lists the stored events, page by page.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use buffa_types::google::protobuf::FieldMask;
use tokio_stream::Stream;

use crate::{
    client::Client,
    error::Error,
    v1::{EventFilter, ListEventsRequest, ListEventsResponse, StoredEvent},
};

const DEFAULT_PAGE_EVENTS: i32 = 1000;

/// A stream of the events that match a filter; created by [`Client::list_events`].
///
/// It requests a page when the one before is exhausted. After an error, the next poll requests the same page
/// again.
#[must_use = "nothing is read until it is asked for events"]
pub struct ListEvents {
    client: Client,
    request: ListEventsRequest,
    page: VecDeque<StoredEvent>,
    pending: Option<PendingPage>,
    is_last_page: bool,
}

type PendingPage = Pin<Box<dyn Future<Output = Result<ListEventsResponse, Error>> + Send>>;

impl ListEvents {
    pub(crate) fn new(client: &Client) -> Self {
        let request = ListEventsRequest {
            account_id: client.account_id().to_owned(),
            page_size: DEFAULT_PAGE_EVENTS,
            ..Default::default()
        };
        Self { client: client.clone(), request, page: VecDeque::new(), pending: None, is_last_page: false }
    }

    /// Selects events; by default all.
    pub fn filter(mut self, filter: EventFilter) -> Self {
        self.request.filter = filter.into();
        self
    }

    /// Lists the latest accepted event first.
    pub fn newest_first(mut self) -> Self {
        self.request.newest_first = true;
        self
    }

    /// Sets the number of events that one call reads; by default 1,000, the maximum.
    pub fn page_size(mut self, events: u16) -> Self {
        self.request.page_size = events.into();
        self
    }

    /// Reads only these fields of [`StoredEvent`], such as `event.customer_info`.
    pub fn read_mask<T: Into<String>>(mut self, paths: impl IntoIterator<Item = T>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        self.request.read_mask = FieldMask { paths, ..Default::default() }.into();
        self
    }

    /// The next event; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<StoredEvent, Error>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<StoredEvent, Error>>> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.is_last_page {
                return Poll::Ready(None);
            }
            let pending =
                self.pending.get_or_insert_with(|| fetch(self.client.clone(), self.request.clone()));
            let answer = ready!(pending.as_mut().poll(context));
            self.pending = None;
            match answer {
                Ok(page) => self.turn_to(page),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn turn_to(&mut self, page: ListEventsResponse) {
        // An empty page is not necessarily the last; an empty token is.
        self.is_last_page = page.next_page_token.is_empty();
        self.request.page_token = page.next_page_token;
        self.page = page.events.into();
    }
}

impl Stream for ListEvents {
    type Item = Result<StoredEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}

impl fmt::Debug for ListEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListEvents").field("request", &self.request).finish_non_exhaustive()
    }
}

fn fetch(client: Client, request: ListEventsRequest) -> PendingPage {
    Box::pin(async move { Ok(client.events().list_events(request).await?.into_inner()) })
}
