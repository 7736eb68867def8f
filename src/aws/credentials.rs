//! Where credentials come from.
//!
//! The SDK's default order without the two providers that start processes or want a browser: `credential_process`
//! and SSO. slurmctld owns SIGCHLD; a child of ours would be reaped by somebody else. Both are absent at compile
//! time (features of `aws-config`), and the chain is spelled out here so that neither can come back unnoticed.
use crate::{Settings, error};
use aws_config::{
    Region, ecs::EcsCredentialsProvider, environment::EnvironmentVariableCredentialsProvider,
    imds::credentials::ImdsCredentialsProvider, meta::credentials::CredentialsProviderChain,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::config::SharedHttpClient;
use burst_cloud::CloudError;

/// What to do when there are none.
pub(crate) const HELP: &str = "give slurmctld's host an IAM role, or put keys into ~/.aws/credentials of SlurmUser \
     (profile: [aws] profile in burst.toml), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in slurmctld's \
     environment; credential_process and SSO profiles are not used inside slurmctld";

/// Environment, profile (static keys and assume-role), web identity, ECS, instance metadata.
pub(crate) async fn chain(settings: &Settings, http: SharedHttpClient) -> SharedCredentialsProvider {
    let conf = ProviderConfig::without_region()
        .with_region(Some(Region::new(settings.region.clone())))
        .with_http_client(http)
        .with_timeout_config(settings.timeouts.of_call());
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&conf);
    if let Some(name) = &settings.profile {
        profile = profile.profile_name(name);
    }
    let profile = profile.build();
    let imds = ImdsCredentialsProvider::builder().configure(&conf).build();
    let ecs = EcsCredentialsProvider::builder().configure(&conf).build();
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&conf).build();
    // A profile named in burst.toml is meant: it comes before whatever the environment happens to hold.
    let chain = if settings.profile.is_some() {
        CredentialsProviderChain::first_try("Profile", profile)
            .or_else("Environment", EnvironmentVariableCredentialsProvider::new())
    } else {
        CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Profile", profile)
    };
    SharedCredentialsProvider::new(
        chain
            .or_else("WebIdentityToken", web)
            .or_else("EcsContainer", ecs)
            .or_else("Ec2InstanceMetadata", imds),
    )
}

/// Resolves them once.
pub(crate) async fn check(provider: &SharedCredentialsProvider) -> Result<(), CloudError> {
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(e) => Err(error::no_credentials("Credentials", &e)),
    }
}
