//! Settings, and the two SDK clients made of them.
use crate::{error, whole::Whole};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::{
    Client,
    config::{
        SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction, RetryConfig},
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{Builder as HttpBuilder, tls};
use burst_cloud::CloudError;
use std::{collections::BTreeMap, time::Duration};

/// Where EC2 is and how long to wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `us-east-2`.
    pub region: String,
    /// Profile of the shared configuration files; None: `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// Another endpoint than the region's own: a VPC endpoint, or `http://…` of a simulator.
    pub endpoint_url: Option<String>,
    /// Endpoints of further Regions ([`burst_cloud::Cloud::region`]); others have AWS's own.
    pub endpoints: BTreeMap<String, String>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl Settings {
    /// A region with everything else at its default.
    #[must_use]
    pub fn region(region: impl Into<String>) -> Self {
        let (profile, endpoint_url) = (None, None);
        let (endpoints, timeouts) = (BTreeMap::new(), Timeouts::default());
        Self { region: region.into(), profile, endpoint_url, endpoints, timeouts }
    }
}

/// How long to wait for EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To establish a connection.
    pub connect: Duration,
    /// From the request's end to the answer's first byte, one attempt.
    pub read: Duration,
    /// A whole call with its attempts (not CreateFleet).
    pub operation: Duration,
    /// CreateFleet: an instant fleet answers only when every instance was granted or refused.
    pub launch: Duration,
    /// Attempts of a call that may be repeated (never CreateFleet).
    pub attempts: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(20),
            operation: Duration::from_secs(60),
            launch: Duration::from_secs(120),
            attempts: 3,
        }
    }
}

impl Timeouts {
    pub(crate) fn of_call(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .read_timeout(self.read)
            .operation_attempt_timeout(self.read.saturating_add(self.connect))
            .operation_timeout(self.operation)
            .build()
    }
    fn of_launch(&self) -> TimeoutConfig {
        let whole = self.launch.saturating_add(self.connect);
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .read_timeout(self.launch)
            .operation_attempt_timeout(whole)
            .operation_timeout(whole)
            .build()
    }
}

/// An endpoint that answers 500 with a web page is not EC2 having a bad moment (EC2 fails in XML): asking again
/// would only hide what is wrong. Gateways in front of EC2 answer 502 to 504, which stay retryable.
#[derive(Debug)]
struct NotEc2;

impl ClassifyRetry for NotEc2 {
    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        match ctx.response() {
            Some(r) if r.status().as_u16() == 500 && r.body().bytes().is_some_and(error::is_html) => {
                RetryAction::RetryForbidden
            }
            _ => RetryAction::NoActionIndicated,
        }
    }
    fn name(&self) -> &'static str {
        "web page instead of an EC2 answer"
    }
}

/// The HTTP client: rustls with ring; plain http too.
pub(crate) fn http() -> SharedHttpClient {
    HttpBuilder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

/// The client for calls that may be repeated, and the one for CreateFleet.
pub(crate) async fn clients(
    settings: Settings,
    http: SharedHttpClient,
    credentials: SharedCredentialsProvider,
) -> Result<(Client, Client), CloudError> {
    let bad = |message: String| error::own("Settings", "BadSettings", message);
    if settings.region.trim().is_empty() {
        return Err(bad(
            "no region: write region = \"us-east-2\" (or yours) under [aws] in burst.toml".into()
        ));
    }
    if let Some(url) = &settings.endpoint_url
        && !(url.starts_with("http://") || url.starts_with("https://"))
    {
        return Err(bad(format!(
            "endpoint_url {url:?} must begin with https:// (or http:// for a simulator)"
        )));
    }
    let t = settings.timeouts;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region))
        .http_client(http)
        .timeout_config(t.of_call())
        .retry_config(RetryConfig::standard().with_max_attempts(t.attempts.max(1)))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .credentials_provider(credentials);
    if let Some(profile) = settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = settings.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let shared = loader.load().await;
    let client =
        aws_sdk_ec2::config::Builder::from(&shared).retry_classifier(NotEc2).interceptor(Whole).build();
    let launcher = aws_sdk_ec2::config::Builder::from(&shared)
        .retry_config(RetryConfig::disabled())
        .timeout_config(t.of_launch())
        .interceptor(Whole)
        .build();
    Ok((Client::from_conf(client), Client::from_conf(launcher)))
}
