//! Over the wire against a small scripted HTTP endpoint on loopback.
mod describing;
mod failing;
mod launching;
mod reserving;
mod server;
mod templates;

use crate::{Ec2, Settings, Timeouts, settings};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use std::{future::Future, time::Duration};

pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(5),
        operation: Duration::from_secs(20),
        launch: Duration::from_secs(5),
        attempts: 3,
    }
}

pub(crate) async fn ec2_with(url: &str, timeouts: Timeouts) -> Ec2 {
    let settings = Settings { endpoint_url: Some(url.into()), timeouts, ..Settings::region("us-east-2") };
    let keys = SharedCredentialsProvider::new(Credentials::new("AKIDTEST", "SECRETTEST", None, None, "test"));
    Ec2::with(settings, settings::http(), keys).await.unwrap()
}

pub(crate) async fn ec2(url: &str) -> Ec2 {
    ec2_with(url, timeouts()).await
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|s| (*s).to_owned()).collect()
}
