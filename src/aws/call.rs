//! One place through which every call goes: timing, the log line, the error's translation.
use crate::error;
use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use burst_cloud::CloudError;
use std::{error::Error, future::Future, time::Instant};

/// Awaits a call and writes its debug line (never its parameters: user data may hold what a site considers secret).
pub(crate) async fn call<O, E>(
    api: &'static str,
    future: impl Future<Output = Result<O, SdkError<E, HttpResponse>>>,
) -> Result<O, CloudError>
where
    O: RequestId,
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let start = Instant::now();
    let result = future.await;
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(output) => {
            tracing::debug!(api, ms, request_id = output.request_id().unwrap_or(""), "ec2 call");
            Ok(output)
        }
        Err(e) => {
            let e = error::cloud(api, &e);
            tracing::debug!(
                api,
                ms,
                request_id = e.request_id.as_deref().unwrap_or(""),
                code = e.code,
                ambiguous = e.ambiguous,
                "ec2 call failed"
            );
            Err(e)
        }
    }
}
