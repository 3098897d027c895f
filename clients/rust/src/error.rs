//! The error type of the crate: why a call failed, for programs and for humans.

use std::{collections::BTreeMap, error, fmt, time::Duration};

use tonic::Code;

/// An error of the caller's own code, of any type.
pub type BoxError = Box<dyn error::Error + Send + Sync + 'static>;

/// Classifies errors by how the caller should react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// INVALID_ARGUMENT: correct the request. Also if a client cannot be built as configured.
    InvalidArgument,
    /// ALREADY_EXISTS: the id was used before, for different content.
    Conflict,
    /// FAILED_PRECONDITION: not in the current state.
    Precondition,
    /// ABORTED: a newer stream has taken over the upload; do not retry.
    TakenOver,
    /// NOT_FOUND: nothing has this id, cursor or name.
    NotFound,
    /// UNAUTHENTICATED: the token is missing, invalid or expired.
    Unauthenticated,
    /// PERMISSION_DENIED: the token does not cover this account or this kind of call.
    PermissionDenied,
    /// RESOURCE_EXHAUSTED: a limit is reached; wait for [`Error::retry_delay`], if there is one.
    QuotaExceeded,
    /// UNAVAILABLE: the service cannot answer now; retrying with the same ids is safe.
    Unavailable,
    /// DEADLINE_EXCEEDED: the call may have taken effect; retrying with the same ids is safe.
    Deadline,
    /// INTERNAL, UNKNOWN, DATA_LOSS: the server's log has the cause.
    Internal,
    /// Any other code, or a failure of the caller's own code, which then is the error's source.
    Other,
    /// Raised by the client: the upload began with another source, or was continued with one. The message
    /// says between which events they differ. Use an upload id of its own for each source.
    SourceMismatch,
}

impl Kind {
    /// The name of the kind, in snake case, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Conflict => "conflict",
            Self::Precondition => "precondition",
            Self::TakenOver => "taken_over",
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
            Self::Other => "other",
            Self::SourceMismatch => "source_mismatch",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One broken rule of one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path from the request, such as `event.customer_info.last_payment_date.month`.
    pub field: String,
    /// Id of the rule, such as `string.max_len`.
    pub rule: String,
    /// A text for humans that includes the limit.
    pub description: String,
}

impl fmt::Display for FieldViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} ({})", self.description, self.rule)
    }
}

/// The parts of an error. Boxed, so that a `Result` stays small.
#[derive(Debug)]
pub(crate) struct Parts {
    pub kind: Kind,
    pub code: Option<Code>,
    pub reason: String,
    pub message: String,
    pub metadata: BTreeMap<String, String>,
    pub violations: Vec<FieldViolation>,
    pub retry_delay: Option<Duration>,
    pub source: Option<BoxError>,
}

/// Why a call failed.
///
/// Displays as one line with code, reason and message, and another for each field violation.
///
/// ```no_run
/// # use engagement_attributes::{Client, Error, Kind, v1::Event};
/// # async fn run(client: Client, event: Event) -> Result<(), Error> {
/// match client.record_event(event).await {
///     Ok(result) => println!("{:?} at {}", result.outcome, result.cursor),
///     Err(error) if error.kind() == Kind::InvalidArgument => {
///         for violation in error.violations() {
///             println!("{}: {}", violation.field, violation.rule);
///         }
///     }
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Error(pub(crate) Box<Parts>);

impl Error {
    /// An error that the client itself raises.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            code: None,
            reason: String::new(),
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_delay: None,
            source: None,
        }))
    }

    /// The error of a connection that was lost, for whatever reason.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_retry_delay(mut self, delay: Option<Duration>) -> Self {
        self.0.retry_delay = delay;
        self
    }

    /// Classifies the error by how the caller should react.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Code of the status; `None` if the client itself raised the error.
    pub fn code(&self) -> Option<Code> {
        self.0.code
    }

    /// Name of an [`ErrorReason`](crate::v1::ErrorReason) without its prefix, such as `FIELD_INVALID`,
    /// possibly one that this version does not know. Empty if the status did not come from the service.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The text of the status, for humans.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The dynamic parts of the message, by name.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// The invalid fields. The server lists at most 32; `violationsTotal` of the metadata counts all.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// The wait before the next attempt that the server requests, if it does.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// Whether the token of the call has expired, so that another one may help.
    pub(crate) fn is_expired_token(&self) -> bool {
        self.kind() == Kind::Unauthenticated && self.reason() == "TOKEN_EXPIRED"
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self.kind() {
            Kind::Unavailable | Kind::Deadline => true,
            Kind::QuotaExceeded => self.retry_delay().is_some(),
            // Without the service's reason these come from a broken connection or from a proxy.
            _ => {
                self.reason().is_empty()
                    && matches!(self.code(), Some(Code::Internal | Code::Unknown | Code::Cancelled))
            }
        }
    }

    fn unnamed_violations(&self) -> usize {
        let total = self.metadata().get("violationsTotal").and_then(|total| total.parse::<usize>().ok());
        total.unwrap_or(0).saturating_sub(self.violations().len())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code().map_or("", code_name);
        match (code, self.reason()) {
            ("", "") => {}
            (name, "") | ("", name) => write!(f, "{name}: ")?,
            (code, reason) => write!(f, "{code} / {reason}: ")?,
        }
        f.write_str(self.message())?;
        for violation in self.violations() {
            write!(f, "\n  {violation}")?;
        }
        match self.unnamed_violations() {
            unnamed if unnamed > 0 && !self.violations().is_empty() => write!(f, "\n  and {unnamed} more"),
            _ => Ok(()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
