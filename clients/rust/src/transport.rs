//! The transport of every call: adds account and token and, to unary calls, the deadline and retries.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION, request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, TimeoutExpired, body::Body, transport::Channel};
use tower_service::Service;

use crate::{
    error::{BoxError, Error, Kind},
    retry::retry_delay,
    token::Tokens,
    v1::STREAMS,
};

/// Size of the largest message that can be received.
pub(crate) const MAX_RECEIVED_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

const MAX_TRIES: u32 = 5;
const SHORTEST_QUOTA_DELAY: Duration = Duration::from_millis(100);
/// Its calls are about a server, and no account.
const SERVER_SERVICE: &str = "/engagement.v1.ServerService/";
const ACCOUNT: &str = "engagement-account";
const TIMEOUT: &str = "grpc-timeout";
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// On the wire, a flag and the length precede each message.
const FRAME_HEADER_BYTES: usize = 5;

/// The transport of the stubs: one connection, which all clones share.
///
/// A unary call has the client's deadline or that of its request (`Request::set_timeout`), including retries
/// and waits. If it ends UNAVAILABLE, it is attempted up to five times, with the same message. Streams pass
/// through unchanged.
#[derive(Clone)]
pub struct Transport {
    /// That of new calls. Calls have clones of their own, so a replaced channel ends with its last call.
    channel: Arc<RwLock<Channel>>,
    tokens: Arc<Tokens>,
    account: HeaderValue,
    timeout: Duration,
}

impl Transport {
    pub(crate) fn new(channel: Channel, tokens: Tokens, account: HeaderValue, timeout: Duration) -> Self {
        Self { channel: Arc::new(RwLock::new(channel)), tokens: Arc::new(tokens), account, timeout }
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Makes new calls on another channel.
    #[cfg(feature = "tls")]
    pub(crate) fn replace(&self, channel: Channel) {
        *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    fn channel(&self) -> Channel {
        self.channel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The deadline of a unary call that does not set its own.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn stream(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        if let Some(authorization) = self.tokens.current().await? {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let response = send(self.channel(), request).await?;
        Ok(response.map(|body| Body::new(body.map_err(lost))))
    }

    async fn unary(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let timeout = read_timeout(&parts.headers).unwrap_or(self.timeout);
        let deadline = Instant::now() + timeout;
        timeout_at(deadline, self.call_until(deadline, parts, body)).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!("no answer within {} seconds", timeout.as_secs_f64())))
        })
    }

    async fn call_until(
        self,
        deadline: Instant,
        parts: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        let message = body.collect().await?.to_bytes();
        let mut has_renewed_token = false;
        loop {
            let authorization = self.tokens.current().await?;
            let used_at = Instant::now();
            let answer = self.try_until(deadline, &parts, &message, authorization).await;
            let Some(error) = rejection(&answer) else {
                return answer.map(Answer::into_response);
            };
            if error.is_expired_token() && self.tokens.is_renewable() {
                self.tokens.discard(used_at);
                if !has_renewed_token {
                    has_renewed_token = true;
                    continue;
                }
            }
            match quota_delay(&error) {
                Some(delay) if Instant::now() + delay <= deadline => sleep(delay).await,
                _ => return answer.map(Answer::into_response),
            }
        }
    }

    /// Makes a call, and retries it while the server is unavailable.
    async fn try_until(
        &self,
        deadline: Instant,
        parts: &request::Parts,
        message: &Bytes,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, Status> {
        let mut failures = 0;
        loop {
            let mut parts = parts.clone();
            parts.headers.insert(TIMEOUT, timeout_value(deadline - Instant::now()));
            if let Some(authorization) = &authorization {
                parts.headers.insert(AUTHORIZATION, authorization.clone());
            }
            let request = Request::from_parts(parts, Body::new(Full::new(message.clone())));
            let answer = receive(self.channel(), request).await;
            let Some(delay) = delay_before_retry(&answer, failures) else {
                return answer;
            };
            sleep(delay).await;
            failures += 1;
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each call waits for the channel itself, under its own deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if !request.uri().path().starts_with(SERVER_SERVICE) {
            request.headers_mut().insert(ACCOUNT, self.account.clone());
        }
        let transport = self.clone();
        if STREAMS.contains(&request.uri().path()) {
            Box::pin(transport.stream(request))
        } else {
            Box::pin(transport.unary(request))
        }
    }
}

/// The complete response of a unary call.
struct Answer {
    head: http::response::Parts,
    message: Bytes,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn into_response(self) -> Response<Body> {
        let trailers = self.trailers;
        let body = Full::new(self.message).with_trailers(async move { trailers.map(Ok) });
        Response::from_parts(self.head, Body::new(body))
    }

    /// The headers with the status: the trailers or, if there is no message, the headers of the response.
    fn status_headers(&self) -> &HeaderMap {
        self.trailers.as_ref().unwrap_or(&self.head.headers)
    }
}

async fn send(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, Status> {
    poll_fn(|context| channel.poll_ready(context)).await.map_err(lost)?;
    channel.call(request).await.map_err(lost)
}

async fn receive(channel: Channel, request: Request<Body>) -> Result<Answer, Status> {
    let (head, body) = send(channel, request).await?.into_parts();
    let received = Limited::new(body, MAX_RECEIVED_MESSAGE_BYTES + FRAME_HEADER_BYTES);
    let collected = received.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Status::resource_exhausted(format!(
                "the answer is larger than {MAX_RECEIVED_MESSAGE_BYTES} bytes"
            ))
        } else {
            lost(error)
        }
    })?;
    let trailers = collected.trailers().cloned();
    Ok(Answer { head, message: collected.to_bytes(), trailers })
}

/// How long to wait before retrying the call; `None` if it must not be retried.
fn delay_before_retry(answer: &Result<Answer, Status>, failures: u32) -> Option<Duration> {
    if failures + 1 == MAX_TRIES || !is_unavailable(answer) {
        return None;
    }
    match answer.as_ref().ok().and_then(|answer| answer.status_headers().get(PUSHBACK)) {
        None => Some(retry_delay(failures)),
        // A negative or invalid number asks not to retry.
        Some(value) => value.to_str().ok()?.parse().ok().map(Duration::from_millis),
    }
}

/// The error of a call that the server did not take because of its token or a quota.
fn rejection(answer: &Result<Answer, Status>) -> Option<Error> {
    let status = Status::from_header_map(answer.as_ref().ok()?.status_headers())?;
    matches!(status.code(), Code::Unauthenticated | Code::ResourceExhausted).then(|| status.into())
}

/// How long to wait for a quota; `None` if the call failed for another reason, or waiting does not help.
fn quota_delay(error: &Error) -> Option<Duration> {
    let delay = error.retry_delay().filter(|_| error.kind() == Kind::QuotaExceeded)?;
    Some(delay.max(SHORTEST_QUOTA_DELAY))
}

fn is_unavailable(answer: &Result<Answer, Status>) -> bool {
    match answer {
        Err(status) => status.code() == Code::Unavailable,
        Ok(answer) => match Status::from_header_map(answer.status_headers()) {
            Some(status) => status.code() == Code::Unavailable,
            // A proxy's response may have no gRPC status.
            None => matches!(
                answer.head.status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
        },
    }
}

/// The status of a call whose connection failed, so that the server sent none.
fn lost(error: impl Into<BoxError>) -> Status {
    let error = error.into();
    let mut text = String::new();
    let mut cause = Some(&*error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return Status::deadline_exceeded(error.to_string());
        }
        let part = match error.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        // Some errors repeat their source's text.
        if !text.ends_with(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        cause = error.source();
    }
    Status::unavailable(text)
}

/// A call's own deadline, in gRPC's format: up to eight digits and a unit.
fn read_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(60 * 60))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn timeout_value(timeout: Duration) -> HeaderValue {
    const MAX_NUMBER: u128 = 99_999_999;
    let text = match timeout.as_millis() {
        milliseconds @ ..=MAX_NUMBER => format!("{milliseconds}m"),
        milliseconds => format!("{}S", (milliseconds / 1000).min(MAX_NUMBER)),
    };
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}
