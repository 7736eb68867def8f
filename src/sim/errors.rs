//! Errors as the API answers them.

/// A refused call: HTTP status, EC2's error code, and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Error code of the API.
    pub code: String,
    /// Text for people.
    pub message: String,
}

/// Result of an action.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// A client error (400), which is what EC2 answers for nearly everything the caller did wrong.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    /// An error with its own status.
    pub fn with_status(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// A required parameter is absent.
    pub fn missing(name: &str) -> Self {
        Self::new("MissingParameter", format!("The request must contain the parameter {name}"))
    }

    /// A value is out of range or of the wrong form.
    pub fn value(name: &str, value: &str, why: &str) -> Self {
        Self::new("InvalidParameterValue", format!("Value ({value}) for parameter {name} is invalid. {why}"))
    }

    /// The call would have succeeded, but only a test was asked for.
    pub fn dry_run() -> Self {
        Self::with_status(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    }
}
