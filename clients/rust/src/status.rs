//! Translates a gRPC status into the typed error, here and nowhere else.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::error::{Error, FieldViolation, Kind, Parts};

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // Details that cannot be read were not written by the service: the code and the message must do.
        let details = status.check_error_details().unwrap_or_default();
        let (reason, metadata) = details
            .error_info()
            .map(|info| (info.reason.clone(), info.metadata.clone().into_iter().collect()))
            .unwrap_or_default();
        let violations = details
            .bad_request()
            .map(|bad_request| bad_request.field_violations.iter().map(FieldViolation::from).collect())
            .unwrap_or_default();
        let message = match status.message() {
            "" => "no message".to_owned(),
            text => text.to_owned(),
        };
        Self(Box::new(Parts {
            kind: kind_of(status.code()),
            code: Some(status.code()),
            reason,
            message,
            metadata,
            violations,
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            source: None,
        }))
    }
}

impl From<&tonic_types::FieldViolation> for FieldViolation {
    fn from(violation: &tonic_types::FieldViolation) -> Self {
        Self {
            field: violation.field.clone(),
            rule: violation.reason.clone(),
            description: violation.description.clone(),
        }
    }
}

fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::AlreadyExists => Kind::Conflict,
        Code::FailedPrecondition => Kind::Precondition,
        Code::Aborted => Kind::TakenOver,
        Code::NotFound => Kind::NotFound,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::QuotaExceeded,
        Code::Unavailable => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::Deadline,
        Code::Internal | Code::Unknown | Code::DataLoss => Kind::Internal,
        Code::Ok | Code::Cancelled | Code::OutOfRange | Code::Unimplemented => Kind::Other,
    }
}
