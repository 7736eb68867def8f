//! From the SDK's errors to [`CloudError`].
use crate::credentials::HELP;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use burst_cloud::CloudError;
use burst_policy::classify::{Class, classify};
use std::error::Error;

/// An error that did not come from EC2. `code` decides the class.
pub(crate) fn own(api: &str, code: &str, message: impl Into<String>) -> CloudError {
    let class = match code {
        "Timeout" | "Connect" => Class::Transient,
        "NoCredentials" => Class::Auth,
        "BadAnswer" => Class::Unknown,
        _ => Class::Configuration,
    };
    CloudError {
        api: api.into(),
        code: code.into(),
        message: message.into(),
        class,
        request_id: None,
        ambiguous: false,
    }
}

/// No credentials, and what to configure.
pub(crate) fn no_credentials(api: &str, cause: &(dyn Error + 'static)) -> CloudError {
    // One line of log, and without the SDK's preamble before each provider that has nothing.
    let said = text(cause).replace("the credential provider was not enabled: ", "");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    own(api, "NoCredentials", format!("no usable AWS credentials ({said}): {HELP}"))
}

/// A body that is a web page.
pub(crate) fn is_html(body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(body.get(..body.len().min(64)).unwrap_or_default());
    let start = start.trim_start().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// The error's own text and those of its causes, without repetition.
fn text(e: &(dyn Error + 'static)) -> String {
    let mut out = String::new();
    let mut next = Some(e);
    while let Some(e) = next {
        let s = e.to_string();
        if !out.contains(&s) {
            if !out.is_empty() {
                out.push_str(": ");
            }
            out.push_str(&s);
        }
        next = e.source();
    }
    out
}

fn cause<'a, T: Error + 'static>(e: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(e);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

/// True where the connection was never there, so that nothing can have been sent.
fn never_connected(e: &(dyn Error + 'static), text: &str) -> bool {
    use std::io::ErrorKind as K;
    let refused = cause::<std::io::Error>(e).is_some_and(|io| {
        matches!(
            io.kind(),
            K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable | K::AddrNotAvailable
        )
    });
    refused || text.contains("(Connect)") || text.contains("HTTP connect timeout")
}

/// Text in `<tag>…</tag>`, for the request id which EC2 repeats in the body of an error.
fn element<'a>(body: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(inside, _)| inside.trim())
}

fn bad_answer(api: &str, raw: &HttpResponse, why: &str) -> CloudError {
    let status = raw.status().as_u16();
    let body = raw.body().bytes().unwrap_or_default();
    let what = if is_html(body) { "a web page" } else { "something that is not an EC2 answer" };
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let mut e = own(
        api,
        "BadAnswer",
        format!(
            "the endpoint answered HTTP {status} with {what}{why}; check [aws] endpoint_url and any proxy between"
        ),
    );
    // Only a 4xx says for certain that nothing was done.
    e.ambiguous = !(400..500).contains(&status);
    e
}

/// Maps a failed call.
pub(crate) fn cloud<E>(api: &str, err: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let mut out = match err {
        SdkError::ServiceError(ctx) => {
            let status = ctx.raw().status().as_u16();
            match ctx.err().code() {
                Some(code) => {
                    let message = ctx.err().message().unwrap_or_default();
                    let class = match code {
                        "InvalidPlacementGroup.InUse" => Class::Transient,
                        _ => classify(code, message),
                    };
                    CloudError {
                        api: api.into(),
                        code: code.into(),
                        message: message.into(),
                        class,
                        request_id: None,
                        // A 5xx that names a refusal (throttled, no capacity, …) is a refusal; any other may hide a success.
                        ambiguous: status >= 500
                            && matches!(class, Class::Transient | Class::Unknown | Class::NotFound),
                    }
                }
                None => bad_answer(api, ctx.raw(), &text(ctx.err())),
            }
        }
        SdkError::ResponseError(ctx) => bad_answer(api, ctx.raw(), ""),
        SdkError::TimeoutError(_) => {
            let mut e = own(api, "Timeout", format!("no answer in time ({})", text(err)));
            e.ambiguous = true;
            e
        }
        _ => {
            let said = text(err);
            if let Some(c) = cause::<CredentialsError>(err) {
                no_credentials(api, c)
            } else if said.contains("identity resolver timed out") {
                own(api, "NoCredentials", format!("looking for AWS credentials took too long: {HELP}"))
            } else {
                let timeout = matches!(err, SdkError::DispatchFailure(d) if d.is_timeout());
                let code = if timeout { "Timeout" } else { "Connect" };
                let mut e = own(api, code, said.clone());
                e.ambiguous = matches!(err, SdkError::DispatchFailure(_)) && !never_connected(err, &said);
                e
            }
        }
    };
    out.request_id = err.request_id().map(str::to_owned).or_else(|| {
        let body =
            err.raw_response().and_then(|r| r.body().bytes()).and_then(|b| std::str::from_utf8(b).ok())?;
        element(body, "RequestID").or_else(|| element(body, "RequestId")).map(str::to_owned)
    });
    out
}
