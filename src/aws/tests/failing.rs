//! What each kind of failure becomes, and how often it was asked.
use super::{ec2, ec2_with, launching::request, run, server::*, timeouts};
use crate::{Ec2, Settings, settings};
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use burst_cloud::{Cloud, CloudError};
use burst_plan::Market;
use burst_policy::classify::Class;
use std::{net::TcpListener, time::Duration};

const HTML: &str = "<!doctype html>\n<html lang=en><title>500 Internal Server Error</title></html>";

fn launch(script: impl Fn(usize, &Params) -> Reply + Send + 'static) -> (CloudError, usize) {
    let server = Server::start(script);
    let e = run(async { ec2(&server.url).await.create_fleet(&request(Market::OnDemand)).await }).unwrap_err();
    (e, server.asked().len())
}

#[test]
fn create_fleet_is_sent_once_whatever_happens() {
    let (e, sent) = launch(|_, _| err(500, "InternalError", "oops"));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("InternalError", true, 1));
    assert_eq!(e.request_id.as_deref(), Some("req-bad"));
    let (e, sent) = launch(|_, _| err(503, "RequestLimitExceeded", "slow down"));
    assert_eq!((e.class, e.ambiguous, sent), (Class::Throttle, false, 1));
    let (e, sent) = launch(|_, _| err(400, "InvalidParameterValue", "no"));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("InvalidParameterValue", false, 1));
    let (e, sent) = launch(|_, _| Reply::Drop);
    assert_eq!((e.class, e.ambiguous, sent), (Class::Transient, true, 1));
    let (e, sent) = launch(|_, _| Reply::Body(500, HTML.into()));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("BadAnswer", true, 1));
    let (e, sent) = launch(|_, _| Reply::Body(200, "<CreateFleetResponse><fleetId>fl".into()));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("BadAnswer", true, 1));
    let (e, sent) = launch(|_, _| ok("CreateFleet", ""));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("BadAnswer", true, 1));
}

#[test]
fn an_answer_that_is_cut_off_is_no_answer() {
    let cut = "<fleetId>fleet-1</fleetId><fleetInstanceSet><item><instanceIds><item>i-1</item>";
    let (e, sent) = launch(move |_, _| Reply::Body(200, format!("<CreateFleetResponse>{cut}")));
    assert_eq!((e.code.as_str(), e.ambiguous, sent), ("BadAnswer", true, 1));
    let server = Server::start(|_, _| Reply::Body(200, "<DescribeInstancesResponse><reservationSet>".into()));
    let e = run(async { ec2(&server.url).await.owned("uuid").await }).unwrap_err();
    assert_eq!(e.code, "BadAnswer");
}

#[test]
fn no_answer_in_time_is_ambiguous() {
    let server = Server::start(|_, _| Reply::Silence);
    let mut t = timeouts();
    t.launch = Duration::from_millis(300);
    let e = run(async { ec2_with(&server.url, t).await.create_fleet(&request(Market::OnDemand)).await })
        .unwrap_err();
    assert_eq!((e.code.as_str(), e.class, e.ambiguous), ("Timeout", Class::Transient, true));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_refused_connection_is_not_ambiguous() {
    let url = {
        let l = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", l.local_addr().unwrap())
    };
    run(async {
        let ec2 = ec2(&url).await;
        let e = ec2.create_fleet(&request(Market::OnDemand)).await.unwrap_err();
        assert_eq!((e.code.as_str(), e.class, e.ambiguous), ("Connect", Class::Transient, false), "{e}");
        let e = ec2.owned("uuid").await.unwrap_err();
        assert_eq!((e.api.as_str(), e.code.as_str()), ("DescribeInstances", "Connect"));
    });
}

#[test]
fn tls_to_something_that_does_not_speak_it_is_an_error_and_nothing_was_sent() {
    let server = Server::start(|_, _| ok("CreateFleet", ""));
    let url = server.url.replace("http://", "https://");
    let e = run(async { ec2(&url).await.create_fleet(&request(Market::OnDemand)).await }).unwrap_err();
    assert_eq!((e.code.as_str(), e.class), ("Connect", Class::Transient), "{e}");
    assert!(server.asked().is_empty());
}

#[test]
fn what_may_be_repeated_is_repeated_a_few_times() {
    let server = Server::start(|n, _| match n {
        1 => err(503, "Unavailable", "later"),
        2 => Reply::Drop,
        _ => ok("DescribeInstances", "<reservationSet/>"),
    });
    assert!(run(async { ec2(&server.url).await.owned("uuid").await }).unwrap().is_empty());
    assert_eq!(server.asked().len(), 3);
    let server = Server::start(|_, _| err(503, "RequestLimitExceeded", "slow down"));
    let e = run(async { ec2(&server.url).await.owned("uuid").await }).unwrap_err();
    assert_eq!((e.class, server.asked().len()), (Class::Throttle, 3));
}

#[test]
fn a_web_page_is_a_bad_answer_and_not_repeated() {
    let server = Server::start(|_, _| Reply::Body(500, HTML.into()));
    let e = run(async { ec2(&server.url).await.groups("uuid").await }).unwrap_err();
    assert_eq!((e.code.as_str(), e.class), ("BadAnswer", Class::Unknown));
    assert!(e.message.contains("HTTP 500") && e.message.contains("web page"), "{e}");
    assert_eq!(server.asked().len(), 1);
}

#[derive(Debug)]
struct Nobody;
impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded(
            "no providers in chain provided credentials",
        )))
    }
}

#[test]
fn without_credentials_nothing_is_sent_and_the_message_says_what_to_do() {
    let server = Server::start(|_, _| ok("DescribeInstances", "<reservationSet/>"));
    run(async {
        let s = Settings { endpoint_url: Some(server.url.clone()), ..Settings::region("us-east-2") };
        let ec2 = Ec2::with(s, settings::http(), SharedCredentialsProvider::new(Nobody)).await.unwrap();
        let calls = [
            ec2.owned("uuid").await.unwrap_err(),
            ec2.create_fleet(&request(Market::OnDemand)).await.unwrap_err(),
            ec2.check_credentials().await.unwrap_err(),
        ];
        for e in calls {
            assert_eq!((e.code.as_str(), e.class, e.ambiguous), ("NoCredentials", Class::Auth, false), "{e}");
            assert!(!e.message.contains('\n'), "{e}");
            assert!(e.message.contains("IAM role") && e.message.contains("AWS_ACCESS_KEY_ID"), "{e}");
        }
    });
    assert!(server.asked().is_empty());
}

#[test]
fn a_credential_process_is_never_started() {
    use aws_config::profile::ProfileFileCredentialsProvider;
    use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
    let marker = std::env::temp_dir().join(format!("burst-aws-marker-{}", std::process::id()));
    let _ = std::fs::remove_file(&marker);
    let text = format!("[default]\ncredential_process = touch {}\n", marker.display());
    let files = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, text).build();
    let provider = ProfileFileCredentialsProvider::builder().profile_files(files).build();
    let result = run(async { provider.provide_credentials().await });
    assert!(result.is_err());
    assert!(!marker.exists(), "a process was started");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    run(async {
        let e = Ec2::new(Settings::region(" ")).await.unwrap_err();
        assert!(e.message.contains("region") && e.class == Class::Configuration);
        let s = Settings { endpoint_url: Some("127.0.0.1:5000".into()), ..Settings::region("us-east-2") };
        assert!(Ec2::new(s).await.unwrap_err().message.contains("https://"));
    });
}
